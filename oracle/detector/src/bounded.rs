//! A map with a named limit: what was touched longest ago gives way when a new key needs room.
//!
//! Guarantees: never more than `limit` entries; one key's state is never seen under another key. Giving way is in order of last touch, so a
//! flood of new keys can cost an idle one its history, but no busy one; the loser starts to learn anew.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// State per key, at most `limit` of them.
pub(crate) struct Bounded<K, V> {
    limit: usize,
    clock: u64,
    entries: HashMap<K, (u64, V)>,
    touched: BTreeMap<u64, K>,
}

impl<K: Copy + Eq + Hash, V: Default> Bounded<K, V> {
    /// Empty, for at most `limit` keys (at least one).
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), clock: 0, entries: HashMap::new(), touched: BTreeMap::new() }
    }

    /// The state of a key, new if there was none; the key counts as touched.
    pub(crate) fn entry(&mut self, key: K) -> &mut V {
        self.clock += 1;
        if let Some((touched_at, _)) = self.entries.get(&key) {
            self.touched.remove(touched_at);
        } else if self.entries.len() >= self.limit
            && let Some((_, oldest)) = self.touched.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.touched.insert(self.clock, key);
        let entry = self.entries.entry(key).or_default();
        entry.0 = self.clock;
        &mut entry.1
    }

    /// The state of a key, if there is one; the key does not count as touched.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, state)| state)
    }

    /// Most keys at once.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Bounded;

    #[test]
    fn the_key_touched_longest_ago_gives_way() {
        let mut map: Bounded<u8, u32> = Bounded::new(2);
        *map.entry(1) = 10;
        *map.entry(2) = 20;
        *map.entry(1) += 1;
        *map.entry(3) = 30;
        assert_eq!(map.len(), 2);
        assert_eq!((*map.entry(1), *map.entry(3)), (11, 30));
        assert_eq!(*map.entry(2), 0, "it gave way and starts anew");
    }
}
