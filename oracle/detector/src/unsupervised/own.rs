//! What a device does that others do not, and what it does not do: its own kinds of flow, learnt while it is new.
//!
//! For its first [`GRACE_FLOWS`] flows (at most [`GRACE_MS`]) the kinds of a device are learnt: at most [`OWN_MAX`] prototypes of normalised
//! flows; a kind that came fewer than [`WINS_MIN`] times gives way. A flow that the model finds mildly strange is not judged in that time.
//! Then everything is frozen for good. From there on a flow within [`OWN_RADIUS`] of a kind raises no alarm however strange it is elsewhere,
//! and a burst of flows of no kind raises one however ordinary each is elsewhere: when among [`RECENT`] flows so many are foreign that the
//! rate of foreign flows in the grace makes it a chance of less than [`BURST_SHARE`] (binomial). The committed weights never change, so the
//! model's id still names what judged.
//!
//! Against a slow attacker: nothing is learnt after the grace, so nothing can be dragged later; a kind stays where it began; a flow rarer
//! than [`CEILING_SHARE`] among benign flows is never learnt and alarms even during the grace. The limits: somebody who holds the device
//! while it is new can have up to [`OWN_MAX`] mild kinds of flow taken for normal, for this device alone, so a device should be commissioned
//! on a network that is trusted; fewer than one foreign flow in [`RECENT`] makes no burst; and a device whose way changes (new firmware)
//! alarms until its state is dropped.

use pulp::{Arch, Simd, WithSimd};

use super::codebook::UNKNOWN;

/// Flows in which a device's own kinds are learnt.
pub const GRACE_FLOWS: u32 = 256;
/// Longest time in which they are learnt: one day, milliseconds.
pub const GRACE_MS: u64 = 24 * 3_600 * 1_000;
/// Most own kinds.
pub const OWN_MAX: usize = 8;
/// How often a kind must come to be kept.
pub const WINS_MIN: u16 = 4;
/// Flows rarer than this among benign ones are never learnt.
pub const CEILING_SHARE: f64 = 1e-5;
/// How near a flow must be to a kind: root mean square difference of the normalised values.
pub const OWN_RADIUS: f32 = 0.05;
/// Flows among which foreign ones are counted.
pub const RECENT: u32 = u16::BITS;
/// Chance below which a burst of foreign flows raises an alarm.
pub const BURST_SHARE: f64 = 1e-5;
/// Most normalised columns of the serving schema.
pub(crate) const OWN_WIDTH_MAX: usize = 128;
/// The first flows of the grace, in which kinds form; the rate of foreign flows is counted after them.
const FORMING_FLOWS: u32 = GRACE_FLOWS / 4;

/// Steps of a stored value: 0 to 254 span −1 to 2, the range of normalised values.
const STEPS: f32 = 254.0;
/// A stored value that is missing.
const MISSING: u8 = u8::MAX;
/// Values that are compared at once.
const LANES: usize = 16;

/// One own kind of flow, a byte per normalised value.
#[derive(Clone, Debug, PartialEq)]
struct Kind {
    wins: u16,
    values: [u8; OWN_WIDTH_MAX],
}

impl Kind {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held to 0..=254 before")]
    fn of(row: &[f32]) -> Self {
        let mut values = [MISSING; OWN_WIDTH_MAX];
        for (stored, value) in values.iter_mut().zip(row).filter(|(_, value)| !value.is_nan()) {
            *stored = ((value + 1.0) / 3.0 * STEPS).round().clamp(0.0, STEPS) as u8;
        }
        Self { wins: 1, values }
    }
}

/// The first kind within [`OWN_RADIUS`] of a row.
struct Find<'a> {
    kinds: &'a [Option<Kind>; OWN_MAX],
    /// Filled up with NaN to whole [`LANES`].
    row: &'a [f32],
}

impl WithSimd for Find<'_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Option<usize> {
        let row = S::as_simd_f32s(self.row).0;
        let [zero, one, step, missing, unknown] =
            [0.0, 1.0, 3.0 / STEPS, f32::from(MISSING), UNKNOWN].map(|value| simd.splat_f32s(value));
        let count = row.iter().fold(zero, |count, value| {
            simd.add_f32s(count, simd.select_f32s(simd.equal_f32s(*value, *value), one, zero))
        });
        let most = OWN_RADIUS * OWN_RADIUS * simd.reduce_sum_f32s(count);
        let mut own = [0.0_f32; OWN_WIDTH_MAX];
        let own = &mut own[..self.row.len()];
        for (at, kind) in self.kinds.iter().enumerate() {
            let Some(kind) = kind else { continue };
            own.iter_mut().zip(&kind.values).for_each(|(own, stored)| *own = f32::from(*stored));
            let mut sum = zero;
            for (value, stored) in row.iter().zip(S::as_simd_f32s(own).0) {
                let apart = simd.sub_f32s(*value, simd.sub_f32s(simd.mul_f32s(*stored, step), one));
                let is_missing = simd.equal_f32s(*stored, missing);
                let square = simd.select_f32s(is_missing, unknown, simd.mul_f32s(apart, apart));
                sum = simd.add_f32s(sum, simd.select_f32s(simd.equal_f32s(*value, *value), square, zero));
            }
            if simd.reduce_sum_f32s(sum) <= most {
                return Some(at);
            }
        }
        None
    }
}

fn find(kinds: &[Option<Kind>; OWN_MAX], row: &[f32]) -> Option<usize> {
    let mut padded = [f32::NAN; OWN_WIDTH_MAX];
    padded.get_mut(..row.len())?.copy_from_slice(row);
    Arch::new().dispatch(Find { kinds, row: &padded[..row.len().next_multiple_of(LANES)] })
}

/// A device's own norm.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Own {
    began_at_ms: Option<u64>,
    frozen: bool,
    flows: u32,
    /// Flows of no kind, counted after the kinds have formed and before they are frozen.
    foreign: u32,
    /// Whether each of the last flows was foreign, newest in the lowest bit.
    recent: u16,
    /// So many foreign ones among them make a burst; known once the kinds are frozen.
    burst: u32,
    kinds: [Option<Kind>; OWN_MAX],
}

/// What a device's own norm says of a flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Said {
    /// Nothing: what the model says stands.
    Nothing,
    /// The device is new; a mild alarm may be its way and is not raised.
    New,
    /// The device always did this: no alarm.
    Known,
    /// The device never did this, and does it again and again: an alarm. The chance of so many foreign flows.
    Burst(f64),
}

impl Own {
    /// Counts a flow of which `share` of benign flows are as strange, and says what the device's own norm says of it.
    pub(crate) fn see(&mut self, row: &[f32], now_ms: u64, share: f64) -> Said {
        let began_at_ms = *self.began_at_ms.get_or_insert(now_ms);
        if !self.frozen && (self.flows >= GRACE_FLOWS || now_ms.saturating_sub(began_at_ms) > GRACE_MS) {
            self.frozen = true;
            let seldom = |kind: &&mut Option<Kind>| kind.as_ref().is_some_and(|kind| kind.wins < WINS_MIN);
            self.kinds.iter_mut().filter(seldom).for_each(|kind| *kind = None);
            self.burst = (0..=RECENT).find(|count| self.chance(*count) < BURST_SHARE).unwrap_or(RECENT + 1);
        }
        let gross = share < CEILING_SHARE || row.len() > OWN_WIDTH_MAX;
        let found = find(&self.kinds, row);
        if self.frozen {
            self.recent = self.recent << 1 | u16::from(found.is_none());
            return match (found, gross) {
                (Some(_), false) => Said::Known,
                (None, false) => self.burst(),
                (_, true) => Said::Nothing,
            };
        }
        self.flows += 1;
        if found.is_none() && self.flows > FORMING_FLOWS {
            self.foreign += 1;
        }
        match (found, gross) {
            (_, true) => return Said::Nothing,
            (Some(at), false) => {
                self.kinds[at].iter_mut().for_each(|kind| kind.wins = kind.wins.saturating_add(1));
            }
            (None, false) => self.learn(row),
        }
        Said::New
    }

    /// A new kind takes a free place, or that of a kind that came too seldom.
    fn learn(&mut self, row: &[f32]) {
        let wins = |kind: &Option<Kind>| kind.as_ref().map_or(0, |kind| kind.wins);
        let seldom = self.kinds.iter_mut().min_by_key(|kind| wins(kind)).filter(|kind| wins(kind) < WINS_MIN);
        if let Some(place) = seldom {
            *place = Some(Kind::of(row));
        }
    }

    /// The chance of at least so many foreign flows among the last ones, by the rate of the grace (rule of succession).
    fn chance(&self, count: u32) -> f64 {
        let counted = f64::from(self.flows.saturating_sub(FORMING_FLOWS));
        at_least(count, (f64::from(self.foreign) + 1.0) / (counted + 2.0))
    }

    fn burst(&self) -> Said {
        let foreign = self.recent.count_ones();
        if foreign >= self.burst { Said::Burst(self.chance(foreign)) } else { Said::Nothing }
    }
}

/// Chance of at least `count` of [`RECENT`] when each comes with chance `rate`.
fn at_least(count: u32, rate: f64) -> f64 {
    let mut term = (1.0 - rate).powi(i32::try_from(RECENT).expect("16 fits"));
    let mut below = 0.0;
    for at in 0..count {
        below += term;
        term *= f64::from(RECENT - at) / f64::from(at + 1) * rate / (1.0 - rate);
    }
    // Far out, the sum's remainder is lost in rounding; the next term bounds it well enough.
    (1.0 - below).max(if count == 0 { 1.0 } else { term })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILD: f64 = 1e-4;
    const USUAL: f64 = 0.5;

    fn after_grace(row: &[f32], times: u32, share: f64) -> Own {
        let mut own = Own::default();
        for at in 0..GRACE_FLOWS {
            let (row, share) = if at < times { (row, share) } else { (&[0.5, 0.5][..], USUAL) };
            own.see(row, u64::from(at), share);
        }
        own
    }

    #[test]
    fn what_a_new_device_keeps_doing_is_its_own_way() {
        let mut own = after_grace(&[0.2, 0.9], 10, MILD);
        assert_eq!(own.see(&[0.21, 0.9], 500, MILD), Said::Known);
        assert_eq!(own.see(&[0.9, 0.9], 501, MILD), Said::Nothing, "nothing is learnt after the grace");
        assert_eq!(own.see(&[0.9, 0.9], 502, MILD), Said::Nothing);
    }

    #[test]
    fn a_slow_drift_drags_nothing() {
        let mut own = after_grace(&[0.2, 0.2], 200, MILD);
        let said: Vec<Said> =
            (0..200_u16).map(|step| own.see(&[0.2 - f32::from(step) * 0.004, 0.2], 1_000, MILD)).collect();
        assert!(said[30..].iter().all(|said| *said != Said::Known));
        let mut new = Own::default();
        (0..100_u16).for_each(|step| {
            new.see(&[f32::from(step) * 0.01, 0.2], 0, MILD);
        });
        assert!(new.kinds.iter().flatten().count() <= OWN_MAX);
    }

    #[test]
    fn gross_and_seldom_flows_are_never_learnt() {
        let gross = CEILING_SHARE / 2.0;
        assert_eq!(after_grace(&[0.2, 0.9], 200, gross).see(&[0.2, 0.9], 999, gross), Said::Nothing);
        let seldom = u32::from(WINS_MIN) - 1;
        assert_eq!(after_grace(&[0.2, 0.9], seldom, MILD).see(&[0.2, 0.9], 999, MILD), Said::Nothing);
        assert_eq!(Own::default().see(&[0.2, 0.9], 0, gross), Said::Nothing, "gross alarms are raised at once");
    }

    #[test]
    fn a_burst_of_foreign_flows_alarms_and_a_single_one_does_not() {
        let mut own = after_grace(&[0.5, 0.5], 256, USUAL);
        let said: Vec<Said> = (0..6).map(|_| own.see(&[0.9, 0.1], 600, USUAL)).collect();
        assert_eq!(said[0], Said::Nothing);
        assert!(matches!(said[5], Said::Burst(chance) if chance < BURST_SHARE), "{said:?}");
        assert_eq!(own.see(&[0.5, 0.5], 601, USUAL), Said::Known, "its own flows are still its own");
    }

    #[test]
    fn a_device_without_habits_makes_no_bursts() {
        let mut own = Own::default();
        let odd = |at: u32| [(at * 37 % 100) as f32 / 100.0, (at * 53 % 100) as f32 / 100.0];
        let said: Vec<Said> = (0..2_000).map(|at| own.see(&odd(at * at % 1_009), u64::from(at), USUAL)).collect();
        assert!(!said.iter().any(|said| matches!(said, Said::Burst(_))));
    }

    #[test]
    fn chances_are_binomial() {
        assert_eq!(at_least(0, 0.3), 1.0);
        assert!((at_least(16, 0.5) - 0.5_f64.powi(16)).abs() < 1e-12);
        assert!((at_least(1, 0.1) - (1.0 - 0.9_f64.powi(16))).abs() < 1e-12);
    }
}
