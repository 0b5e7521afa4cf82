//! A client on a real link with a real clock.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::time;

use super::client::{Client, Event, Loss, Output, Publication, Refusal, Request, RequestError, Settings};
use super::console::Console;
use super::transport::{Arrival, Endpoint, Target, Transport};
use crate::core::Instant;

/// Between two attempts to connect again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One client and the link under it.
#[derive(Debug)]
pub(super) struct Connection {
    target: Target,
    t_retry: Duration,
    client: Client,
    link: Option<Transport>,
    outputs: VecDeque<Output>,
    origin: time::Instant,
    console: Console,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    #[error("cannot find the address of {target}: {source}")]
    Unresolved { target: Target, source: io::Error },
    #[error("no gateway answers at {target} ({}); {}", attempts.join("; "), target.remedy())]
    NoAnswer { target: Target, attempts: Vec<String> },
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Impossible(#[from] RequestError),
}

/// How a connection ended without our asking.
#[derive(Debug, Error)]
pub(super) enum Lost {
    #[error(transparent)]
    Session(#[from] Loss),
    #[error("nobody listens at the gateway's address any more")]
    NobodyListens,
    #[error("the link failed: {0}")]
    Link(io::Error),
}

impl Connection {
    pub(super) fn new(target: Target, settings: Settings, console: Console) -> Self {
        let settings = Settings { max_frame: settings.max_frame.min(target.max_frame()), ..settings };
        Self {
            target,
            t_retry: settings.t_retry,
            client: Client::new(settings),
            link: None,
            outputs: VecDeque::new(),
            origin: time::Instant::now(),
            console,
        }
    }

    /// Connects at the first of the target's addresses where a gateway answers.
    pub(super) async fn connect(&mut self) -> Result<(), ConnectError> {
        let endpoints = self.endpoints().await?;
        let last = endpoints.len().saturating_sub(1);
        let mut attempts = Vec::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            // While there are others an address gets one CONNECT, so that a silent one does not hold them up for long.
            let patience = if index < last { self.t_retry } else { Duration::MAX };
            let attempt = match time::timeout(patience, self.connect_at(endpoint)).await {
                Ok(attempt) => attempt?,
                Err(_) => Err("no answer".to_owned()),
            };
            match attempt {
                Ok(()) => return Ok(()),
                Err(reason) => attempts.push(format!("{endpoint}: {reason}")),
            }
            self.close();
        }
        Err(ConnectError::NoAnswer { target: self.target.clone(), attempts })
    }

    /// Connects again, however long it takes. Each pause is twice as long as the one before, up to [`LONGEST_PAUSE`].
    pub(super) async fn reconnect(&mut self, why: &impl Display, first_pause: Duration) {
        // Without a session this only closes the link.
        let _ = self.disconnect().await;
        let mut pause = first_pause;
        self.console.say(format_args!("{why}; connecting again in {} s", pause.as_secs()));
        loop {
            time::sleep(pause).await;
            let Err(error) = self.connect().await else { break };
            pause = LONGEST_PAUSE.min(pause * 2);
            self.console.say(format_args!("{error}; trying again in {} s", pause.as_secs()));
        }
        self.console.say("Connected again");
    }

    /// Publishes at QoS -1: no connection, no answer.
    pub(super) async fn publish_blindly(&mut self, publication: &Publication) -> Result<(), ConnectError> {
        if self.link.is_some() && self.send_blindly(publication).await?.is_ok() {
            return Ok(());
        }
        let mut attempts = Vec::new();
        for endpoint in self.endpoints().await? {
            let attempt = match endpoint.open().await {
                Ok(link) => {
                    self.link = Some(link);
                    self.send_blindly(publication).await?.map_err(|lost| lost.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            match attempt {
                Ok(()) => return Ok(()),
                Err(reason) => attempts.push(format!("{endpoint}: {reason}")),
            }
        }
        Err(ConnectError::NoAnswer { target: self.target.clone(), attempts })
    }

    /// Hands the client a request.
    pub(super) fn request(&mut self, request: Request) -> Result<(), RequestError> {
        let mut outputs = Vec::new();
        let result = self.client.request(self.now(), request, &mut outputs);
        self.outputs.extend(outputs);
        result
    }

    /// Lets the client run until it has something to tell. May be dropped and called again without a loss.
    ///
    /// A message is acknowledged to the gateway by the next call: the caller has taken it over by then.
    pub(super) async fn next_event(&mut self) -> Result<Event, Lost> {
        loop {
            if let Some(event) = self.carry_out().await.map_err(|error| self.fail(error))? {
                if let Event::Lost(loss) = event {
                    self.close();
                    return Err(loss.into());
                }
                return Ok(event);
            }
            self.wait().await.map_err(|error| self.fail(error))?;
        }
    }

    /// Forgets the acknowledgement of the last message: it could not be taken over.
    pub(super) fn forget_acknowledgement(&mut self) {
        self.outputs.clear();
    }

    /// Ends the session in order, if there is one, and tells what was still refused.
    pub(super) async fn disconnect(&mut self) -> Result<(), Refusal> {
        let mut result = Ok(());
        if self.request(Request::Disconnect).is_ok() {
            loop {
                let event = self.next_event().await;
                if let Ok(Event::Refused(refusal)) = event {
                    result = Err(refusal);
                }
                if matches!(event, Ok(Event::Disconnected) | Err(_)) {
                    break;
                }
            }
        }
        self.close();
        result
    }

    /// Waits until what went out without an answer has left the machine.
    pub(super) async fn drain(&self) {
        if let Some(link) = &self.link {
            link.drain().await;
        }
    }

    async fn endpoints(&self) -> Result<Vec<Endpoint>, ConnectError> {
        let unresolved = |source| ConnectError::Unresolved { target: self.target.clone(), source };
        self.target.endpoints().await.map_err(unresolved)
    }

    /// Connects at one address. The inner error is about this address, the outer one about the gateway's answer.
    async fn connect_at(&mut self, endpoint: &Endpoint) -> Result<Result<(), String>, ConnectError> {
        self.link = match endpoint.open().await {
            Ok(link) => Some(link),
            Err(error) => return Ok(Err(error.to_string())),
        };
        self.request(Request::Connect)?;
        loop {
            let event = match self.next_event().await {
                Ok(event) => event,
                Err(lost) => return Ok(Err(lost.to_string())),
            };
            if let Event::Refused(refusal) = event {
                return Err(refusal.into());
            }
            if event == Event::Connected {
                return Ok(Ok(()));
            }
        }
    }

    async fn send_blindly(&mut self, publication: &Publication) -> Result<Result<(), Lost>, RequestError> {
        self.request(Request::Publish(publication.clone()))?;
        if let Err(lost) = self.next_event().await {
            return Ok(Err(lost));
        }
        // On one machine the system knows at once that nobody listens.
        Ok(match self.link.as_ref().and_then(Transport::trouble) {
            Some(error) => Err(self.fail(error)),
            None => Ok(()),
        })
    }

    /// Carries out what the client wants done, up to its next event.
    async fn carry_out(&mut self) -> io::Result<Option<Event>> {
        while let Some(output) = self.outputs.front() {
            if let Output::Send(frame) = output {
                let link = self.link.as_mut().ok_or(io::ErrorKind::NotConnected)?;
                link.send(frame).await?;
                self.console.sent(frame);
            }
            // Only now: this future may have been dropped while it was sending.
            match self.outputs.pop_front() {
                Some(Output::Event(event)) => return Ok(Some(event)),
                Some(Output::Send(_)) | None => {}
            }
        }
        Ok(None)
    }

    /// Waits for a frame or for the client's next deadline.
    async fn wait(&mut self) -> io::Result<()> {
        let mut outputs = Vec::new();
        let deadline = self.client.next_deadline().map(|deadline| self.origin + deadline.since_origin());
        let link = self.link.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        tokio::select! {
            arrival = link.receive() => match arrival? {
                Arrival::Frame(frame) => {
                    self.console.received(&frame);
                    self.client.receive(self.now(), &frame, &mut outputs);
                }
                Arrival::Chatter(words) => self.console.chatter(&words),
            },
            () = until(deadline) => self.client.tick(self.now(), &mut outputs),
        }
        self.outputs.extend(outputs);
        Ok(())
    }

    fn fail(&mut self, error: io::Error) -> Lost {
        self.close();
        if error.kind() == io::ErrorKind::ConnectionRefused { Lost::NobodyListens } else { Lost::Link(error) }
    }

    fn close(&mut self) {
        self.client.abandon();
        self.outputs.clear();
        self.link = None;
    }

    fn now(&self) -> Instant {
        Instant::from_origin(self.origin.elapsed())
    }
}

async fn until(deadline: Option<time::Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
