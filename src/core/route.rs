//! The way back to a client: its peer on a link and, behind a forwarder, the wrapper that its answers wear.

use std::hash::{Hash, Hasher};

use hashbrown::Equivalent;

use super::Peer;

/// Forwarders that a frame may have passed. The specification has one (MQTT-SN 1.2 §5.5); a forwarder of forwarders
/// is in the field.
pub(super) const MAX_NESTING: usize = 2;

/// Where a client was heard and where it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    peer: Peer,
    /// Forwarder encapsulation to put in front of every answer, ready to send; empty for a client heard directly.
    wrapper: Box<[u8]>,
}

/// A [`Route`] that still lies in the receive buffers, to look one up without a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RouteRef<'a> {
    pub(super) peer: Peer,
    pub(super) wrapper: &'a [u8],
}

impl Route {
    pub fn peer(&self) -> Peer {
        self.peer
    }

    pub fn wrapper(&self) -> &[u8] {
        &self.wrapper
    }

    pub(super) fn as_ref(&self) -> RouteRef<'_> {
        RouteRef { peer: self.peer, wrapper: &self.wrapper }
    }
}

impl RouteRef<'_> {
    pub(super) fn to_route(self) -> Route {
        Route { peer: self.peer, wrapper: self.wrapper.into() }
    }
}

// A map that is keyed by `Route` is asked with a `RouteRef`, so both must hash alike.
impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl Equivalent<Route> for RouteRef<'_> {
    fn equivalent(&self, route: &Route) -> bool {
        *self == route.as_ref()
    }
}
