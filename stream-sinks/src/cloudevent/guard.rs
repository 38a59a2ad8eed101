//! Keeps requests away from addresses that only insiders reach: who may name an endpoint should not reach the node's own services
//! or the cloud's metadata through the worker.
//!
//! It is the address that is connected to that counts, not the name: a name can lead anywhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Which addresses may be connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// All.
    #[default]
    Any,
    /// None of the machine itself, of its link, or of a cloud's metadata, but for the networks of the list.
    NotInternal {
        /// Networks that may be reached all the same.
        allowed: Vec<Network>,
    },
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any of the addresses.
    pub address: IpAddr,
    /// How many bits they share.
    pub bits: u8,
}

/// A loopback, link-local or metadata address: a stream must not reach into the machine or the cloud's accounts.
///
/// Remedy: use another endpoint, or let the administrator allow the address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{host}` leads to {address}, an internal address that streams may not reach: use another endpoint, or let the \
     administrator allow the address"
)]
pub struct Forbidden {
    /// The host of the URL.
    pub host: String,
    /// Where it leads.
    pub address: IpAddr,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        let shift = width - u32::from(self.bits).min(width);
        ours.checked_shr(shift) == theirs.checked_shr(shift)
    }
}

impl Addresses {
    /// Whether `address` may be connected to.
    #[must_use]
    pub fn allow(&self, address: IpAddr) -> bool {
        let Self::NotInternal { allowed } = self else { return true };
        let address = plain(address);
        !is_internal(address) || allowed.iter().any(|network| network.contains(address))
    }

    /// Checks a host that is an address itself; names are checked when they are resolved.
    pub(super) fn check(&self, url: &Url) -> Result<(), Forbidden> {
        let host = url.host_str().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(address) if !self.allow(address) => {
                Err(Forbidden { host: host.to_owned(), address })
            }
            _ => Ok(()),
        }
    }
}

/// The IPv4 address that an IPv6 address stands for, where it does.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, rest @ .., y, z] = v6.segments();
    // NAT64, 6to4 and the old compatible form lead to the IPv4 address inside of them.
    let inside = match (a, b) {
        (0x64, 0xff9b) => Some((y, z)),
        (0x2002, b) => rest.first().map(|c| (b, *c)),
        (0, 0) if rest == [0, 0, 0, 0] && (y, z) > (0, 1) => Some((y, z)),
        _ => None,
    };
    match (v6.to_ipv4_mapped(), inside) {
        (Some(v4), _) => IpAddr::V4(v4),
        (None, Some((high, low))) => {
            IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        (None, None) => address,
    }
}

fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let octets = v4.octets();
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_multicast()
                // This host; and where two clouds keep their metadata beside the link-local address.
                || matches!(octets, [0, ..] | [100, 100, 100, 200] | [168, 63, 129, 16])
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
                || v6.segments() == [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
        }
    }
}

/// Resolves names to addresses that may be connected to.
#[derive(Debug)]
pub(super) struct Guard(pub(super) Arc<Addresses>);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = Arc::clone(&self.0);
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            let (allowed, forbidden): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|found| addresses.allow(found.ip()));
            match forbidden.first() {
                Some(first) if allowed.is_empty() => {
                    Err(Forbidden { host: host.to_owned(), address: first.ip() }.into())
                }
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_addresses_are_refused_in_every_spelling() {
        let guard = Addresses::NotInternal { allowed: Vec::new() };
        for (url, allowed) in [
            ("http://169.254.169.254/latest/meta-data", false),
            ("http://[::ffff:169.254.169.254]/", false),
            ("http://[::ffff:a9fe:a9fe]/", false),
            ("http://[64:ff9b::a9fe:a9fe]/", false),
            ("http://[2002:a9fe:a9fe::]/", false),
            ("http://127.0.0.1:8080/", false),
            ("http://127.1/", false),
            ("http://2130706433/", false),
            ("http://0x7f000001/", false),
            ("http://0177.0.0.1/", false),
            ("http://0.0.0.0/", false),
            ("http://[::1]/", false),
            ("http://[::]/", false),
            ("http://[::127.0.0.1]/", false),
            ("http://[fe80::1]/", false),
            ("http://[fd00:ec2::254]/", false),
            ("http://100.100.100.200/", false),
            ("http://168.63.129.16/", false),
            ("http://224.0.0.1/", false),
            ("http://10.0.0.7/", true),
            ("http://[fd12:3456::7]/", true),
            ("http://192.0.2.1/", true),
            ("https://[2001:db8::1]/", true),
            // Looked at when it is resolved.
            ("https://events.example.com/", true),
        ] {
            let parsed = Url::parse(url).unwrap();
            assert_eq!(guard.check(&parsed).is_ok(), allowed, "{url}");
            assert!(Addresses::Any.check(&parsed).is_ok());
        }
    }

    #[test]
    fn what_is_allowed_is_reached() {
        let network = Network { address: [127, 0, 0, 0].into(), bits: 8 };
        let guard = Addresses::NotInternal { allowed: vec![network] };
        assert!(guard.allow([127, 9, 9, 9].into()));
        assert!(!guard.allow([169, 254, 169, 254].into()));
        let everything = Network { address: [0, 0, 0, 0].into(), bits: 0 };
        let guard = Addresses::NotInternal { allowed: vec![everything] };
        assert!(guard.allow([169, 254, 169, 254].into()));
    }

    #[tokio::test]
    async fn a_name_is_judged_by_where_it_leads() {
        let guard = Guard(Arc::new(Addresses::NotInternal { allowed: Vec::new() }));
        let Err(error) = guard.resolve("localhost".parse().unwrap()).await else {
            panic!("localhost was allowed")
        };
        assert!(error.to_string().contains("`localhost` leads to"), "{error}");
        assert!(Guard(Arc::default()).resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
