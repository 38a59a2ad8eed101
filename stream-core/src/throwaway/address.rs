//! Ports and addresses.

use std::net::TcpListener;
use std::path::Path;

use super::ServerError;

/// Whether nobody listens on `port`.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> Result<u16, ServerError> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(ServerError::io(Path::new("127.0.0.1:0")))
}

/// `text` as one part of a URL.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_name_cannot_leave_its_place_in_the_url() {
        assert_eq!(percent_encoded("orders-2.a_b~"), "orders-2.a_b~");
        assert_eq!(percent_encoded("a/b?c=d e"), "a%2Fb%3Fc%3Dd%20e");
        assert_eq!(percent_encoded("é"), "%C3%A9");
    }
}
