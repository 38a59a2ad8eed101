//! Two versions of PostgreSQL, one at each end of a stream.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result};

/// The versions that are supported.
const MAJORS: [u16; 5] = [14, 15, 16, 17, 18];

/// The versions of source and target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(super) source: u16,
    pub(super) target: u16,
}

impl Pair {
    /// Every pair whose target is not older than its source, and one downward.
    pub(super) fn all() -> Vec<Self> {
        let pairs = MAJORS.into_iter().flat_map(|source| {
            let targets = MAJORS.into_iter().filter(move |target| *target >= source);
            targets.map(move |target| Self { source, target })
        });
        pairs.chain([Self { source: 18, target: 14 }]).collect()
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.target)
    }
}

impl FromStr for Pair {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (source, target) = text.split_once(':').context("write a pair as in `14:18`")?;
        Ok(Self { source: source.parse()?, target: target.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pairs_are_those_upward_and_one_downward() {
        let all = Pair::all();
        assert_eq!(all.len(), 16);
        assert_eq!(all.iter().filter(|pair| pair.source > pair.target).count(), 1);
    }

    #[test]
    fn a_pair_is_read_as_it_is_written() {
        let pair = Pair { source: 14, target: 18 };
        assert_eq!(pair.to_string().parse::<Pair>().unwrap(), pair);
        assert!("14".parse::<Pair>().is_err());
    }
}
