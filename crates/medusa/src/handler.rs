//! What handlers and wrappers of one's own are made of, in Rust.
//!
//! A [`Handler`] answers a [`Request`] with a [`Response`], or a [`HandlerError`]. A wrapper is a handler that has another, which it
//! calls by [`pass()`], or by [`answer`] where it wants a say in what the server answers for one that has failed. [`RustHandlers`]
//! gives them names for scripts; [`TowerService`] makes a handler of a `tower` service.

pub use medusa_http::handlers::tower::TowerService;
pub use medusa_http::{
    Body, BodyError, BodyStream, Delivery, Handler, HandlerError, HandlerFuture, Head, OverdueFuture,
    PolledBody, PrepareFuture, Request, RequestBody, RequestBodyError, Response, answer, pass,
};
pub use medusa_proto::status::Status;
pub use medusa_script::RustHandlers;
