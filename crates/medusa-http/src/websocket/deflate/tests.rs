//! Offers, right and wrong. The directions are tested where they are used.

use super::*;

fn answer(offers: &[&str]) -> Option<String> {
    let mut headers = HeaderMap::new();
    for offer in offers {
        headers.try_append(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_str(offer).unwrap()).unwrap();
    }
    DeflateParams::of(&headers).map(|agreed| agreed.field().to_str().unwrap().to_owned())
}

const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

#[test]
fn an_offer_is_met() {
    for offer in [
        "permessage-deflate",
        "Permessage-Deflate ; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=8",
        "permessage-deflate; client_max_window_bits=\"15\"; server_no_context_takeover",
        "permessage-deflate;client_no_context_takeover",
        "x-webkit-deflate-frame, permessage-deflate",
        "foo; bar=\"a, permessage-deflate; b\", permessage-deflate",
    ] {
        assert_eq!(answer(&[offer]).as_deref(), Some(PLAIN), "{offer}");
    }
    for bits in 9..=15 {
        let expected = format!("{PLAIN}; server_max_window_bits={bits}");
        assert_eq!(answer(&[&format!("permessage-deflate; server_max_window_bits={bits}")]), Some(expected));
    }
}

#[test]
fn an_offer_that_cannot_be_met_is_declined() {
    let offers = [
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=09",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=x",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=\"\"",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; unknown",
        "permessage-deflate;",
        "permessage-bzip2",
        "",
    ];
    for offer in offers {
        assert_eq!(answer(&[offer]), None, "{offer}");
        // The next is looked at.
        assert_eq!(answer(&[&format!("{offer}, permessage-deflate")]).as_deref(), Some(PLAIN), "{offer}");
        assert_eq!(answer(&[offer, "permessage-deflate"]).as_deref(), Some(PLAIN), "{offer}");
    }
    assert_eq!(answer(&[]), None);
}
