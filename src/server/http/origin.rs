//! Whose key it is when the request does not say: a header's value, or the address of the client
//! behind so many trusted proxies.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};

use super::problem::{Failure, Problem};

/// The header in which proxies note whom they speak for.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Where a key comes from that no request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nowhere.
    Nowhere,
    /// This header.
    Header(HeaderName),
    /// The client's address: the entry that the outermost of so many trusted proxies has added to
    /// `X-Forwarded-For`; with none, the peer's own.
    Address { trusted_proxies: usize },
}

impl Origin {
    /// The key of a request with these headers from `peer`.
    pub(super) fn key(&self, headers: &HeaderMap, peer: IpAddr) -> Result<String, Failure> {
        match self {
            Self::Nowhere => Err(Problem::KeyEmpty.because(
                "name the key that is limited: ?key=…, or `key` in the body; or set key_from in [http] of node.toml",
            )),
            Self::Header(name) => header_key(headers, name),
            Self::Address { trusted_proxies } => {
                let address = client(headers, peer, *trusted_proxies)?;
                Ok(address_key(address))
            }
        }
    }
}

fn header_key(headers: &HeaderMap, name: &HeaderName) -> Result<String, Failure> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(http::HeaderValue::as_bytes);
    if values.next().is_some() {
        return Err(Problem::BadRequest.because(format!("the header {name} is there twice")));
    }
    let value = value
        .map(<[u8]>::trim_ascii)
        .filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| {
        Problem::KeyEmpty.because(format!("the key is the header {name}, which is not there"))
    })?;
    let text = std::str::from_utf8(value).map_err(|_| {
        Problem::BadRequest.because(format!(
            "the header {name}, which is the key, must be UTF-8"
        ))
    })?;
    Ok(text.to_owned())
}

/// The client's address. Each proxy appends whom it got the request from, so what stands further left
/// than the trusted ones have written is what anybody may claim.
fn client(headers: &HeaderMap, peer: IpAddr, trusted_proxies: usize) -> Result<IpAddr, Failure> {
    let Some(from_right) = trusted_proxies.checked_sub(1) else {
        return Ok(peer);
    };
    let lines = headers.get_all(FORWARDED_FOR);
    let lines = lines.iter().rev().map(http::HeaderValue::as_bytes);
    let mut entries = lines.flat_map(|line| line.rsplit(|b| *b == b','));
    let entry = entries
        .nth(from_right)
        .and_then(|entry| std::str::from_utf8(entry).ok());
    entry.and_then(|entry| address(entry.trim())).ok_or_else(|| {
        Problem::BadRequest.because(format!(
            "the key is the client's address, which the outermost of {trusted_proxies} proxies must add to X-Forwarded-For"
        ))
    })
}

/// An address, maybe with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let plain = bare.unwrap_or(text).parse().ok();
    plain.or_else(|| text.parse::<SocketAddr>().ok().map(|it| it.ip()))
}

/// An IPv6 network of 64 bits is one customer's at least, who could take a new address in it for
/// every request.
fn address_key(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() >> 64 << 64);
            format!("{network}/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// What is expected of a case.
    type Expected = Result<&'static str, Problem>;

    fn key(
        origin: &Origin,
        peer: &str,
        lines: &[(&'static str, &[u8])],
    ) -> Result<String, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let key = origin.key(&headers, peer.parse().unwrap());
        key.map_err(|failure| failure.problem)
    }

    #[test]
    fn the_client_is_whom_the_outermost_trusted_proxy_names() {
        let cases: &[(usize, &str, &[&str], Expected)] = &[
            (0, "192.0.2.1", &["203.0.113.9"], Ok("192.0.2.1")),
            (0, "::ffff:192.0.2.1", &[], Ok("192.0.2.1")),
            (0, "2001:db8:1:2:3:4:5:6", &[], Ok("2001:db8:1:2::/64")),
            (1, "10.0.0.1", &["203.0.113.9"], Ok("203.0.113.9")),
            (1, "10.0.0.1", &["6.6.6.6, 203.0.113.9"], Ok("203.0.113.9")),
            (
                1,
                "10.0.0.1",
                &["6.6.6.6", "203.0.113.9:4711"],
                Ok("203.0.113.9"),
            ),
            (
                2,
                "10.0.0.1",
                &["6.6.6.6, 203.0.113.9", "10.0.0.2"],
                Ok("203.0.113.9"),
            ),
            (1, "10.0.0.1", &["[2001:db8::1]:443"], Ok("2001:db8::/64")),
            (1, "10.0.0.1", &["[2001:db8::1]"], Ok("2001:db8::/64")),
            (1, "10.0.0.1", &[], Err(Problem::BadRequest)),
            (2, "10.0.0.1", &["203.0.113.9"], Err(Problem::BadRequest)),
            (
                1,
                "10.0.0.1",
                &["6.6.6.6, unknown"],
                Err(Problem::BadRequest),
            ),
        ];
        for (trusted_proxies, peer, lines, expected) in cases {
            let origin = Origin::Address {
                trusted_proxies: *trusted_proxies,
            };
            let lines: Vec<_> = lines
                .iter()
                .map(|line| ("x-forwarded-for", line.as_bytes()))
                .collect();
            let found = key(&origin, peer, &lines);
            assert_eq!(
                found,
                expected.map(str::to_owned),
                "{trusted_proxies} {lines:?}"
            );
        }
    }

    #[test]
    fn a_header_is_a_key_if_it_is_there_once() {
        let origin = Origin::Header(HeaderName::from_static("x-api-key"));
        let name = "x-api-key";
        let cases: &[(&[&[u8]], Expected)] = &[
            (&[b"k-1"], Ok("k-1")),
            (&[b" \xc3\xbc "], Ok("ü")),
            (&[], Err(Problem::KeyEmpty)),
            (&[b""], Err(Problem::KeyEmpty)),
            (&[b"a", b"b"], Err(Problem::BadRequest)),
            (&[b"\xff"], Err(Problem::BadRequest)),
        ];
        for (values, expected) in cases {
            let lines: Vec<_> = values.iter().map(|value| (name, *value)).collect();
            let found = key(&origin, "10.0.0.1", &lines);
            assert_eq!(found, expected.map(str::to_owned), "{values:?}");
        }
        let nowhere = key(&Origin::Nowhere, "10.0.0.1", &[(name, b"k")]);
        assert_eq!(nowhere, Err(Problem::KeyEmpty));
    }
}
