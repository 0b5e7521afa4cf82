//! Getting to the broker: absent brokers, refusals, old brokers, TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use mqttsn_gateway::broker::{BrokerSettings, Protocol, Version, probe};
use mqttsn_gateway::core::PublishOutcome;
use mqttsn_gateway::wire::Qos;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::core::{Core, message, settings};
use crate::mosquitto::Mosquitto;
use crate::port::reserved_address;

const BOTH: [Protocol; 2] = [Protocol::V5, Protocol::V311];

#[tokio::test]
async fn a_broker_that_is_not_there_is_waited_for() {
    for protocol in [Protocol::Auto, Protocol::V5, Protocol::V311] {
        let mut broker = Mosquitto::at(reserved_address(), |_| "allow_anonymous true".to_owned());
        let url = broker.url();
        let mut core = Core::start(settings(&url, protocol));
        let reason = core.down().await;
        assert!(reason.starts_with(&format!("cannot reach {url}: connection refused")), "{reason}");
        core.publish(1, message("a", "", Qos::AtLeastOnce));
        broker.resume();
        core.up().await;
        assert_eq!(core.published().await, (1, PublishOutcome::Accepted));
        assert_eq!(core.end().await, [], "the reason is told once, not at each attempt");
    }
}

#[tokio::test]
async fn an_unknown_host_is_named() {
    let mut core = Core::start(settings("mqtt://no-such-host.invalid", Protocol::Auto));
    let reason = core.down().await;
    assert!(reason.starts_with("cannot reach mqtt://no-such-host.invalid:1883: "), "{reason}");
}

#[tokio::test]
async fn wrong_credentials_are_called_by_name() {
    let broker = Mosquitto::with(|directory| {
        let file = directory.join("passwords");
        let made = Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&file).args(["user", "right"]).status();
        assert!(made.unwrap().success());
        format!("allow_anonymous false\npassword_file {}", file.display())
    });
    for protocol in BOTH {
        let with = |credentials: &str| settings(&format!("mqtt://{credentials}{}", broker.addr()), protocol);
        let reason = Core::start(with("user:wrong@")).down().await;
        assert!(reason.contains("refused the connection: not authorised (check username and password"), "{reason}");
        assert!(!reason.contains("wrong"), "the password stays secret: {reason}");
        let reason = Core::start(with("")).down().await;
        assert!(reason.contains("it wants a username and password, and none is set"), "{reason}");
        assert!(!Core::start(with("user:right@")).up().await.0);
    }
}

/// Stands before a broker and turns MQTT 5 away as an old broker does. Returns its address.
async fn old_broker(broker: SocketAddr, answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                // Fixed header (the remaining length fits into one octet), "MQTT" with its length, protocol level.
                let mut start = [0; 9];
                client.read_exact(&mut start).await.unwrap();
                if start[8] == 5 {
                    client.write_all(answer).await.unwrap();
                } else {
                    let mut server = TcpStream::connect(broker).await.unwrap();
                    server.write_all(&start).await.unwrap();
                    let _closed = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn auto_falls_back_to_3_1_1_without_a_word() {
    let broker = Mosquitto::start();
    // CONNACK "unacceptable protocol version" of 3.1.1; CONNACK 84 of MQTT 5; nothing at all.
    for answer in [&[0x20, 0x02, 0x00, 0x01][..], &[0x20, 0x03, 0x00, 0x84, 0x00][..], &[][..]] {
        let url = format!("mqtt://{}", old_broker(broker.addr(), answer).await);
        let mut core = Core::start(settings(&url, Protocol::Auto));
        assert!(!core.up().await.1.subscription_ids, "3.1.1");
        core.publish(1, message("a", "", Qos::ExactlyOnce));
        assert_eq!(core.published().await, (1, PublishOutcome::Accepted));
        assert_eq!(core.end().await, []);
        assert_eq!(probe(&settings(&url, Protocol::Auto)).await.unwrap().version, Version::V311);
        assert!(probe(&settings(&url, Protocol::V5)).await.is_err());
    }
}

#[tokio::test]
async fn auto_says_why_neither_version_works() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let mut core = Core::start(settings(&url, Protocol::Auto));
    let reason = core.down().await;
    assert!(reason.contains(&url) && reason.contains("closed the connection"), "{reason}");
    assert!(probe(&settings(&url, Protocol::Auto)).await.unwrap_err().contains(&url));
    core.end().await;
}

#[tokio::test]
async fn a_probe_reports_without_disturbing_the_gateway() {
    let broker = Mosquitto::start();
    let mut core = Core::start(settings(&broker.url(), Protocol::Auto));
    let (_, offer) = core.up().await;
    let report = probe(&settings(&broker.url(), Protocol::Auto)).await.unwrap();
    assert_eq!((report.version, report.offer), (Version::V5, offer));
    assert_eq!(probe(&settings(&broker.url(), Protocol::V311)).await.unwrap().version, Version::V311);
    assert_eq!(core.end().await, []);
    let nobody = format!("mqtt://{}", reserved_address());
    let error = probe(&settings(&nobody, Protocol::Auto)).await.unwrap_err();
    assert!(error.starts_with(&format!("cannot reach {nobody}: connection refused")), "{error}");
}

/// Makes an authority, and with it certificates for the broker (`localhost`) and for a client.
fn make_certificates(directory: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let write = |name: &str, text: String| std::fs::write(directory.join(name), text).unwrap();
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("ca.pem", authority.self_signed(&authority_key).unwrap().pem());
    let issuer = Issuer::new(authority, authority_key);
    for (name, host) in [("broker", "localhost"), ("client", "gateway")] {
        let key = KeyPair::generate().unwrap();
        let mut certificate = CertificateParams::new([host.to_owned()]).unwrap();
        certificate.distinguished_name.push(DnType::CommonName, host);
        write(&format!("{name}.pem"), certificate.signed_by(&key, &issuer).unwrap().pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

#[tokio::test]
async fn tls_checks_the_broker_and_shows_the_gateways_certificate() {
    let broker = Mosquitto::with(|directory| {
        make_certificates(directory);
        let place = directory.display();
        format!(
            "allow_anonymous true\ncafile {place}/ca.pem\ncertfile {place}/broker.pem\nkeyfile {place}/broker.key\n\
             require_certificate true"
        )
    });
    let at = |host: &str| settings(&format!("mqtts://{host}:{}", broker.addr().port()), Protocol::Auto);
    let known = |host: &str| BrokerSettings { ca: Some(broker.file("ca.pem")), ..at(host) };
    let identified = |host: &str| BrokerSettings {
        cert: Some(broker.file("client.pem")),
        key: Some(broker.file("client.key")),
        ..known(host)
    };
    let mut core = Core::start(identified("localhost"));
    core.up().await;
    core.publish(1, message("a", "", Qos::AtLeastOnce));
    assert_eq!(core.published().await, (1, PublishOutcome::Accepted));
    assert_eq!(core.end().await, []);

    let reason = probe(&known("localhost")).await.unwrap_err();
    assert!(reason.contains("it wants a certificate from the gateway: set `cert` and `key`"), "{reason}");
    let reason = probe(&identified("127.0.0.1")).await.unwrap_err();
    assert!(reason.contains("its certificate is not for the name `127.0.0.1`"), "{reason}");
    let other = tempfile::tempdir().unwrap();
    make_certificates(other.path());
    let stranger = BrokerSettings { ca: Some(other.path().join("ca.pem")), ..at("localhost") };
    let reason = Core::start(stranger).down().await;
    assert!(reason.contains("its certificate is not signed by an authority in ca file"), "{reason}");
}

#[tokio::test]
async fn tls_to_a_port_without_tls_is_explained() {
    let broker = Mosquitto::start();
    let mut settings = settings(&format!("mqtts://localhost:{}", broker.addr().port()), Protocol::Auto);
    let other = tempfile::tempdir().unwrap();
    make_certificates(other.path());
    settings.ca = Some(other.path().join("ca.pem"));
    let reason = Core::start(settings).down().await;
    assert!(reason.starts_with("no TLS connection to mqtts://localhost"), "{reason}");
    assert!(reason.contains("is it the broker's mqtts:// port? (mqtt:// is without TLS)"), "{reason}");
}

#[tokio::test]
async fn a_port_with_tls_that_is_spoken_to_without_is_explained() {
    let broker = Mosquitto::with(|directory| {
        make_certificates(directory);
        let place = directory.display();
        format!("allow_anonymous true\ncertfile {place}/broker.pem\nkeyfile {place}/broker.key")
    });
    for protocol in [Protocol::Auto, Protocol::V5, Protocol::V311] {
        let reason = Core::start(settings(&broker.url(), protocol)).down().await;
        assert!(reason.contains("if the port is for TLS, write mqtts:// in the URL"), "{reason}");
    }
}
