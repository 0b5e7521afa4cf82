//! From chance to a world: who is in it, how bad the net is, what the broker is like, which limits are tight.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::broker::Temper;
use super::client::Nature;
use super::dice::Dice;
use super::net::{Corruption, Order, Weather};
use super::store::StoreTemper;
use super::vocabulary;
use crate::core::{Durability, Limits, LinkId, LinkSettings, Mode, OutagePolicy, OutageSettings, Settings};

/// A link with large frames, as UDP has.
pub(super) const WIDE: LinkId = LinkId(0);
/// A link with small frames, as radio modules have.
pub(super) const NARROW: LinkId = LinkId(1);

/// What one run is made of.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) settings: Settings,
    pub(super) clients: Vec<Nature>,
    /// Senders of rubbish.
    pub(super) rogues: usize,
    pub(super) weather: Weather,
    pub(super) temper: Temper,
    pub(super) store: StoreTemper,
    /// The longest time from one crash of the gateway to the next; `None`: there are none.
    pub(super) crashes: Option<Duration>,
    /// The longest pause between two messages of others through the broker.
    pub(super) others_pause: Duration,
    /// How long all this goes on, before everything has to come to rest.
    pub(super) lasts: Duration,
}

impl Scenario {
    /// Draws a world. What outlives the gateway's process is drawn apart.
    pub(super) fn draw(dice: &mut Dice, fate: &mut Dice) -> Self {
        let clients: Vec<Nature> = (0..=dice.below(6)).map(|_| Nature::draw(dice)).collect();
        let mut settings = draw_settings(dice, clients.len());
        draw_durability(fate, &mut settings);
        let crashing = if settings.durability == Durability::Nothing { 200 } else { 750 };
        let crashes = fate.chance(crashing).then(|| *fate.pick(&[20, 60, 200].map(Duration::from_secs)));
        Self {
            settings,
            clients,
            store: StoreTemper::draw(fate),
            crashes,
            rogues: *dice.pick(&[0, 0, 1, 2]),
            weather: draw_weather(dice),
            temper: Temper::draw(dice),
            others_pause: *dice.pick(&[1, 5, 20].map(Duration::from_secs)),
            lasts: *dice.pick(&[120, 300, 600].map(Duration::from_secs)),
        }
    }

    /// Whether a message that arrives says what was sent, so that the books can be kept.
    pub(super) fn is_accountable(&self) -> bool {
        self.weather.corrupted == 0 || self.weather.corruption == Corruption::Detected
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, clients, rogues, weather, temper, store, crashes, others_pause: _, lasts: _ } = self;
        let Settings { mode, limits, durability, outage, .. } = settings;
        writeln!(f, "{mode:?}, {rogues} rogues\n{weather:?}\n{temper:?}\n{limits:?}")?;
        writeln!(f, "{durability:?}, {store:?}, crashes: {crashes:?}\n{outage:?}")?;
        clients.iter().enumerate().try_for_each(|(number, nature)| writeln!(f, "c{number} {nature:?}"))
    }
}

fn draw_settings(dice: &mut Dice, clients: usize) -> Settings {
    let mut limits = Limits::default();
    if dice.chance(250) {
        limits = Limits {
            clients: clients.saturating_sub(1).max(1),
            topics_per_client: 4,
            subscriptions_per_client: 3,
            publishes_per_client: 2,
            publishes_in_flight: 2,
            wills_waiting: 1,
            queued_messages_per_client: 4,
            queued_bytes_per_client: 600,
            unacknowledged_deliveries: 2,
            messages_per_wake_up: 2,
            qos_minus_one_per_second: 2,
            strays_per_second: 2,
            ..limits
        };
    }
    let narrow =
        LinkSettings { max_frame: *dice.pick(&[64, 128]), qos_minus_one: dice.chance(700), ..LinkSettings::default() };
    Settings {
        mode: *dice.pick(&[Mode::Aggregating, Mode::Aggregating, Mode::Transparent]),
        limits,
        predefined: vocabulary::predefined(),
        links: BTreeMap::from([(WIDE, LinkSettings::default()), (NARROW, narrow)]),
        ..Settings::default()
    }
}

fn draw_durability(fate: &mut Dice, settings: &mut Settings) {
    use Durability::{BestEffort, Nothing, Strict};
    settings.durability = *fate.pick(&[Nothing, Nothing, Nothing, Nothing, Strict, Strict, Strict, BestEffort]);
    if settings.durability != Nothing && fate.chance(200) {
        settings.limits.withheld_frames = 4;
        settings.outage.messages = 4;
    }
    if fate.chance(100) {
        let qos0 = *fate.pick(&[OutagePolicy::Keep, OutagePolicy::Latest]);
        let policy = *fate.pick(&[OutagePolicy::Keep, OutagePolicy::Latest, OutagePolicy::Drop]);
        let max_age = *fate.pick(&[None, Some(Duration::from_secs(30))]);
        settings.outage = OutageSettings { qos0, policy, max_age, ..settings.outage.clone() };
    }
}

fn draw_weather(dice: &mut Dice) -> Weather {
    let fine = Weather::fine();
    let slow = (Duration::from_millis(50), Duration::from_millis(900));
    match dice.below(6) {
        0 => fine,
        1 => Weather { loss: 20, duplicated: 20, ..fine },
        2 => Weather { loss: 20, loss_in_burst: 800, burst_begins: 10, burst_ends: 100, delay: slow, ..fine },
        3 => Weather { loss: 100, duplicated: 100, corrupted: 50, delay: slow, order: Order::Broken, ..fine },
        4 => Weather { loss: 300, corrupted: 20, ..fine },
        _ => Weather { corrupted: 50, corruption: Corruption::Undetected, delay: slow, ..fine },
    }
}
