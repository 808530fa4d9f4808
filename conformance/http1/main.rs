//! HTTP/1.1: one module per section of RFC 9112 and RFC 9110, asked of the real program over raw sockets.
//!
//! A test's comment quotes the clause it is about. `README.md`, a directory up, lists the sections and what we chose
//! where the RFCs leave a choice.

mod rfc9110_10_1_1_expect;
mod rfc9110_12_negotiation;
mod rfc9110_13_conditional;
mod rfc9110_14_ranges;
mod rfc9110_15_status_codes;
mod rfc9110_5_fields;
mod rfc9110_6_messages;
mod rfc9110_7_routing;
mod rfc9110_8_representations;
mod rfc9110_9_methods;
mod rfc9112_11_security;
mod rfc9112_2_2_message_parsing;
mod rfc9112_2_3_http_version;
mod rfc9112_3_2_request_target;
mod rfc9112_3_request_line;
mod rfc9112_5_field_syntax;
mod rfc9112_6_message_body;
mod rfc9112_7_1_chunked;
mod rfc9112_8_incomplete_messages;
mod rfc9112_9_3_persistence;
mod rfc9112_9_6_tear_down;
mod support;
mod torture;
