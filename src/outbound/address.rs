//! Which addresses a URL of a stranger may lead to: those of the public internet, and no others.
//!
//! The ranges are those of the IANA special-purpose address registries (RFC 6890) that are not globally reachable, and
//! those that carry an IPv4 address inside (RFC 4291 §2.5.5, RFC 6052, RFC 3056, RFC 4380), through which the former
//! could be meant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// IPv4 that is not public.
const REFUSED_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 8),       // "this network", RFC 791 §3.2
    v4(10, 0, 0, 8),      // private, RFC 1918
    v4(100, 64, 0, 10),   // shared by carriers (CGNAT), RFC 6598
    v4(127, 0, 0, 8),     // loopback, RFC 1122 §3.2.1.3
    v4(169, 254, 0, 16),  // link-local, RFC 3927; the metadata services of clouds
    v4(172, 16, 0, 12),   // private, RFC 1918
    v4(192, 0, 0, 24),    // protocol assignments, RFC 6890
    v4(192, 0, 2, 24),    // documentation, RFC 5737
    v4(192, 88, 99, 24),  // relays of 6to4, RFC 7526
    v4(192, 168, 0, 16),  // private, RFC 1918
    v4(198, 18, 0, 15),   // benchmarks, RFC 2544
    v4(198, 51, 100, 24), // documentation, RFC 5737
    v4(203, 0, 113, 24),  // documentation, RFC 5737
    v4(224, 0, 0, 4),     // multicast, RFC 5771
    v4(240, 0, 0, 4),     // reserved, RFC 1112 §4, and broadcast
    v4(192, 31, 196, 24), // AS112, RFC 7535: answers for private names
];

/// All of IPv6 that is public begins here; loopback, mapped, unique local, link-local and multicast lie outside.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// What of it is not public after all.
const REFUSED_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 0, 23), // protocol assignments, RFC 2928; Teredo, ORCHID and benchmarks among them
    v6(0x2001, 0xdb8, 0, 32), // documentation, RFC 3849
    v6(0x2002, 0, 0, 16), // 6to4, RFC 3056
    v6(0x3fff, 0, 0, 20), // documentation, RFC 9637
];

/// NAT64 with the well-known prefix (RFC 6052 §2.1): networks without IPv4 reach all of it so.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

/// Whether an address is of the public internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !REFUSED_V4.iter().any(|range| range.contains(&address)),
        IpAddr::V6(address) if NAT64.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            is_public(Ipv4Addr::new(a, b, c, d).into())
        }
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && !REFUSED_V6.iter().any(|range| range.contains(&address))
        }
    }
}

/// What no receiver has, wherever an administrator's network is: this network, link-local, multicast and reserved
/// addresses, and those at which clouds hand out a machine's credentials.
const NOWHERE_V4: [Ipv4Net; 6] = [
    v4(0, 0, 0, 8),
    v4(169, 254, 0, 16),
    v4(224, 0, 0, 4),
    v4(240, 0, 0, 4),
    Ipv4Net::new_assert(Ipv4Addr::new(100, 100, 100, 200), 32), // Alibaba Cloud
    Ipv4Net::new_assert(Ipv4Addr::new(168, 63, 129, 16), 32),   // Azure
];

/// The same of IPv6.
const NOWHERE_V6: [Ipv6Net; 3] = [
    v6(0xfe80, 0, 0, 10),
    v6(0xff00, 0, 0, 8),
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128), // AWS
];

/// IPv4 in IPv6 in its other spellings (RFC 4291 §2.5.5, RFC 8215).
const EMBEDDED_V4: [Ipv6Net; 2] = [v6(0, 0, 0, 96), v6(0x64, 0xff9b, 1, 48)];

/// Whether a receiver that an administrator named may be there: inside or outside, but at no address that belongs to a
/// machine's surroundings rather than to a host.
#[must_use]
pub fn may_be_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOWHERE_V4.iter().any(|range| range.contains(&address)),
        IpAddr::V6(address) => {
            if let Some(address) = address.to_ipv4_mapped() {
                return may_be_inside(address.into());
            }
            if address.is_loopback() {
                return true;
            }
            if NAT64.contains(&address) || EMBEDDED_V4.iter().any(|range| range.contains(&address)) {
                let [.., a, b, c, d] = address.octets();
                return may_be_inside(Ipv4Addr::new(a, b, c, d).into());
            }
            !NOWHERE_V6.iter().any(|range| range.contains(&address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_range_is_refused_to_its_last_address() {
        for refused in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.31.196.1",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:0:4136:e378::1",
            "2001:2::1",
            "2001:10::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff:ffff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(refused.parse().unwrap()), "{refused}");
        }
    }

    #[test]
    fn neighbours_of_special_ranges_are_public() {
        for public in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:db7:ffff::1",
            "2001:db9::1",
            "2003::1",
            "2a00:1450:4001::1",
            "3ffe:ffff::1",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn a_receiver_inside_is_no_metadata_service_and_no_group_of_hosts() {
        for inside in [
            "10.1.2.3",
            "127.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "8.8.8.8",
            "::1",
            "fd12::1",
            "2a00:1450:4001::1",
            "::ffff:10.0.0.1",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(may_be_inside(inside.parse().unwrap()), "{inside}");
        }
        for nowhere in [
            "0.0.0.0",
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
        ] {
            assert!(!may_be_inside(nowhere.parse().unwrap()), "{nowhere}");
        }
    }
}
