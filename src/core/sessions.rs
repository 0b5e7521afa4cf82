//! The table of sessions: one client is one client id, and an address is only the way to it.

use bytestring::ByteString;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use slab::Slab;

use super::LinkId;
use super::route::{Route, RouteRef};
use super::session::Session;

/// A session's place in the table. Valid until the session is removed; then it is given out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionKey(pub(super) u32);

impl SessionKey {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// All sessions, found by key, by client id and by route.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    slab: Slab<Session>,
    by_client: HashMap<ByteString, SessionKey, RandomState>,
    by_route: HashMap<Route, SessionKey, RandomState>,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Returns the sessions from this place on, in the order of their places.
    pub(super) fn iter_from(&self, place: u32) -> impl Iterator<Item = &Session> {
        (place as usize..self.slab.capacity()).filter_map(|index| self.slab.get(index))
    }

    /// Returns the sessions whose clients are reached over a link. It walks through all sessions: links rarely come and go.
    pub(super) fn behind(&self, link: LinkId) -> Vec<SessionKey> {
        let is_behind = |session: &&Session| session.route().is_some_and(|route| route.peer().link == link);
        self.iter_from(0).filter(is_behind).map(Session::key).collect()
    }

    pub(super) fn get(&self, key: SessionKey) -> Option<&Session> {
        self.slab.get(key.index())
    }

    pub(super) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.slab.get_mut(key.index())
    }

    pub(super) fn by_client(&self, client_id: &str) -> Option<SessionKey> {
        self.by_client.get(client_id).copied()
    }

    pub(super) fn by_route(&self, route: RouteRef<'_>) -> Option<SessionKey> {
        self.by_route.get(&route).copied()
    }

    /// Makes a session under a client id that has none yet.
    pub(super) fn insert(&mut self, make: impl FnOnce(SessionKey) -> Session) -> SessionKey {
        let entry = self.slab.vacant_entry();
        let key = SessionKey(u32::try_from(entry.key()).expect("the limit on clients is far below 2^32"));
        let session = entry.insert(make(key));
        self.by_client.insert(session.client_id().clone(), key);
        key
    }

    /// Removes a session with its client id and route.
    pub(super) fn remove(&mut self, key: SessionKey) {
        let session = self.slab.remove(key.index());
        self.by_client.remove(session.client_id());
        if let Some(route) = session.route() {
            self.by_route.remove(route);
        }
    }

    /// Lets frames on `route` reach the session. The route must be free or the session's own.
    pub(super) fn bind(&mut self, route: &Route, key: SessionKey) {
        self.by_route.insert(route.clone(), key);
    }

    /// Ends what [`Sessions::bind`] began.
    pub(super) fn unbind(&mut self, route: &Route) {
        self.by_route.remove(route);
    }
}
