//! Clients behind forwarders (digest §5).

use super::World;

#[test]
fn a_client_behind_a_forwarder_is_answered_through_it() {
    let mut world = World::with_broker();
    world.client("F").says("05fe001a2b08040401003c6e31").hears("05fe001a2b030500");
    world.notes("connected n1");
    world.client("F").says("05fe001a2b0216").hears("05fe001a2b0217");
}

#[test]
fn several_clients_share_a_forwarder() {
    let mut world = World::with_broker();
    world.client("F").says("04fe000108040401003c6331").hears("04fe0001030500");
    world.notes("connected c1");
    world.client("F").says("04fe000208040401003c6332").hears("04fe0002030500");
    world.notes("connected c2");
    world.client("F").says("04fe0001070a0000000161").hears("04fe0001070b0001000100");
    world.client("F").says("04fe0002070a0000000162").hears("04fe0002070b0001000100");
    world.client("F").says("04fe0001080c000001000078");
    world.broker().gets("PUBLISH q0 a x");
    world.client("F").says("04fe0002080c000001000078");
    world.broker().gets("PUBLISH q0 b x");
}

#[test]
fn a_forwarder_may_be_a_client_itself() {
    let mut world = World::with_broker();
    world.client("F").connects("forwarder");
    world.client("F").says("04fe000108040401003c6331").hears("04fe0001030500");
    world.notes("connected c1");
    world.client("F").says("0216").hears("0217");
}

#[test]
fn one_node_id_at_two_forwarders_is_two_clients() {
    let mut world = World::with_broker();
    world.client("F").says("04fe000108040401003c6331").hears("04fe0001030500");
    world.notes("connected c1");
    world.client("G").says("04fe00010216").hears("04fe00010218");
    world.notes("stray G");
}

#[test]
fn a_client_may_move_from_one_forwarder_to_another() {
    let mut world = World::with_broker();
    world.client("F").says("04fe000108040001003c6331").hears("04fe0001030500");
    world.notes("connected c1, persistent");
    world.client("G").says("04fe000908040001003c6331").hears("04fe0009030500");
    world.client("F").hears("04fe00010218");
    world.notes("moved c1 from F to G");
    world.notes("connected c1, persistent");
}

#[test]
fn the_radius_and_reserved_bits_of_ctrl_are_not_part_of_the_address() {
    let mut world = World::with_broker();
    world.client("F").says("04fe030108040401003c6331").hears("04fe0001030500");
    world.notes("connected c1");
    world.client("F").says("04feff010216").hears("04fe00010217");
}

#[test]
fn deliveries_and_disconnects_go_through_the_forwarder() {
    let mut world = World::with_broker();
    world.client("F").says("04fe000108040401003c6331").hears("04fe0001030500");
    world.notes("connected c1");
    world.client("F").says("04fe0001081220000d612f62");
    let asked = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().grants(&asked, 1);
    world.client("F").hears("04fe00010813200001000d00");
    world.broker().publishes("a/b", 1, "x");
    world.client("F").hears("04fe0001080c200001000178").says("04fe0001070d0001000100");
    world.broker().gets("ACK 1");
    world.passes(90.0);
    world.client("F").hears("04fe00010218");
    world.notes("lost c1: KeepAlive");
    world.broker().gets("UNSUBSCRIBE a/b");
}

#[test]
fn the_wrapper_counts_against_the_link_s_largest_frame() {
    let mut world = World::with_link(|link| link.max_frame = 20);
    world.client("F").says("04fe000108040401003c6331").hears("04fe0001030500");
    world.notes("connected c1");
    world.client("F").says("04fe000107122200116162");
    let asked = world.broker().gets("SUBSCRIBE q1 ab");
    world.broker().grants(&asked, 0);
    world.client("F").hears("04fe00010813006162001100");
    world.broker().publishes("ab", 0, "123456789");
    world.client("F").hears("04fe0001100c0261620000313233343536373839");
    world.broker().publishes("ab", 0, "123456789a");
    world.notes("undeliverable c1 ab: TooLarge");
}

#[test]
fn a_long_message_in_a_wrapper_is_understood() {
    let mut world = World::with_broker();
    world.client("F").says("04fe000101000a040401003c6331").hears("04fe0001030500");
    world.notes("connected c1");
}

#[test]
fn wrappers_that_hold_no_message_are_dropped() {
    for (octets, why) in [
        ("02fe", "envelope_too_short"),
        ("03fe000216", "empty_node_id"),
        ("04fe0001", "empty_envelope"),
        ("05fe0001", "envelope_truncated"),
        ("04fe00010316", "length_mismatch"),
        ("04fe0001021600", "length_mismatch"),
        ("04fe000104fe000204fe00030216", "nested_too_deep"),
    ] {
        let mut world = World::with_broker();
        world.client("F").garbles(octets);
        world.notes(&format!("malformed from F: {why}"));
    }
}

#[test]
fn qos_minus_one_through_a_forwarder_is_published() {
    let mut world = World::with_broker();
    world.client("F").says("04fe0001080c626162000078");
    world.broker().gets("PUBLISH q0 ab x");
}

#[test]
fn a_sleeper_may_wake_behind_another_forwarder() {
    let mut world = World::with_broker();
    world.client("F").says("04fe000108040001003c6331").hears("04fe0001030500");
    world.notes("connected c1, persistent");
    world.client("F").says("04fe00010418012c").hears("04fe00010218");
    world.notes("asleep c1 for 300 s");
    world.client("G").says("04fe000704166331").hears("04fe00070217");
    world.notes("moved c1 from F to G");
}

#[test]
fn a_forwarder_behind_a_forwarder_is_answered_the_way_it_was_heard() {
    let mut world = World::with_broker();
    world.client("F").says("05fe001a2b04fe000708040401003c6e31").hears("05fe001a2b04fe0007030500");
    world.notes("connected n1");
    world.client("F").says("05fe021a2b04fe03070216").hears("05fe001a2b04fe00070217 whatever the radius");
    world.client("F").says("04fe00070216 the inner one alone is someone else").hears("04fe00070218");
    world.notes("stray F");
}

#[test]
fn a_node_id_has_1_to_252_octets() {
    for octets in [1, 252] {
        let mut world = World::with_broker();
        let wrapper = [&[octets + 3, 0xFE, 0][..], &vec![7; octets.into()]].concat();
        let wrapped = |message: &str| [&wrapper[..], &super::frames::parse(message)].concat();
        world.client("F").sends(&wrapped("08040401003c6e31"));
        let answer: String = wrapped("030500").iter().map(|octet| format!("{octet:02x}")).collect();
        world.client("F").hears(&answer);
        world.notes("connected n1");
    }
}

#[test]
fn a_will_is_asked_for_through_the_forwarder() {
    let mut world = World::with_broker();
    world.client("F").says("04fe000708040c01003c6331").hears("04fe00070206");
    world.client("F").says("04fe000706072077692f").hears("04fe00070208");
    world.passes(10.0);
    world.client("F").hears("04fe00070208").says("04fe0007030961").hears("04fe0007030500");
    world.notes("connected c1");
    world.passes(90.0);
    world.client("F").hears("04fe00070218");
    world.notes("lost c1: KeepAlive");
    world.broker().gets("PUBLISH q1 wi/ a");
    world.notes("will of c1 to wi/");
}

#[test]
fn clients_of_one_forwarder_are_told_to_connect_one_by_one() {
    let mut world = World::with_broker();
    for node in ["01", "02", "03"] {
        world.client("F").says(&format!("04fe00{node}0216")).hears(&format!("04fe00{node}0218"));
        world.notes("stray F");
    }
}
