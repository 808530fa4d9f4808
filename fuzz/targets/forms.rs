//! Forms, in both formats: a form means the same in whatever pieces it comes, and takes no more than it may.
//!
//! What reads the parts of a form in `medusa-http`, and the parts of `medusa-script` that read, without the scripts around them. An input is the `Content-Type` up to the first
//! line feed, and the body.

#![no_main]

extern crate self as medusa_http;
extern crate self as medusa_net;

#[expect(dead_code, reason = "nobody is answered here")]
#[path = "../../crates/medusa-http/src/forms/mod.rs"]
mod forms;

#[path = "."]
mod script_forms {
    //! What the formats need of the forms around them.

    #[path = "../../crates/medusa-script/src/forms/kind.rs"]
    mod kind;
    #[path = "../../crates/medusa-script/src/forms/multipart.rs"]
    mod multipart;
    #[expect(dead_code, reason = "nobody reads or saves the files here")]
    #[path = "../../crates/medusa-script/src/forms/upload.rs"]
    mod upload;
    #[path = "../../crates/medusa-script/src/forms/urlencoded.rs"]
    mod urlencoded;

    use bytes::Bytes;
    use http::HeaderValue;
    use http::header::{CONTENT_TYPE, HeaderMap};

    use crate::{RequestBody, now};
    use form::{Field, MAX_FIELDS};
    use kind::Kind;

    mod form {
        //! What was read.

        use std::rc::Rc;

        use bytes::Bytes;

        use super::upload::Upload;

        pub(super) const MAX_FIELDS: usize = medusa_proto::query::MAX_PAIRS;
        pub(super) const MAX_FIELD: usize = 1024 * 1024;
        pub(super) const MAX_IN_MEMORY: usize = 8 * 1024 * 1024;

        #[derive(Debug, Default)]
        pub(super) struct Form {
            pub(super) fields: Vec<(Bytes, Field)>,
        }

        #[derive(Debug)]
        pub(super) enum Field {
            Text(Bytes),
            File(Rc<Upload>),
        }

        impl Form {
            pub(super) fn push(&mut self, name: Bytes, field: Field) {
                self.fields.push((name, field));
            }
        }
    }

    mod error {
        //! Why it could not be.

        use std::io;

        use crate::RequestBodyError;
        use crate::forms::PartError;

        #[derive(Debug, thiserror::Error)]
        pub(super) enum FormError {
            #[error(transparent)]
            Part(#[from] PartError),
            #[error("no form: {0}")]
            NotAForm(String),
            #[error("too many fields")]
            TooManyFields,
            #[error("too long a field {0}")]
            FieldTooLong(String),
            #[error("too long")]
            TooLong,
            #[error("spool")]
            Spool(#[from] io::Error),
        }

        impl From<RequestBodyError> for FormError {
            fn from(error: RequestBodyError) -> Self {
                Self::Part(error.into())
            }
        }
    }

    /// The fields of a body that comes `size` bytes at a time, as text; none if it is no form.
    fn read(kind: &Kind, body: &[u8], size: usize) -> Option<Vec<String>> {
        let mut body = RequestBody::of(body, size);
        let form = now(async {
            match kind {
                Kind::UrlEncoded(charset) => urlencoded::read(*charset, &mut body).await,
                Kind::Multipart { boundary } => multipart::read(boundary, &mut body, None).await,
            }
        });
        let fields = form.ok()?.fields;
        let shown = |(name, field): &(Bytes, Field)| match field {
            Field::Text(text) => format!("{name:?} {text:?}"),
            Field::File(upload) => format!("{name:?} {upload:?}"),
        };
        Some(fields.iter().map(shown).collect())
    }

    /// Reads a form whole and in pieces.
    pub(crate) fn compare(content_type: &[u8], body: &[u8]) {
        let Ok(value) = HeaderValue::from_bytes(content_type) else { return };
        let headers: HeaderMap = [(CONTENT_TYPE, value)].into_iter().collect();
        let kind = match Kind::of(&headers) {
            Ok(kind) => kind,
            Err(error) => return assert!(error.to_string().len() < 400, "{error}"),
        };
        let whole = read(&kind, body, usize::MAX);
        for size in [1, 3, 64] {
            assert_eq!(read(&kind, body, size), whole, "by {size}");
        }
        assert!(whole.is_none_or(|fields| fields.len() <= MAX_FIELDS));
    }
}

mod request {
    //! How a body is read.

    use bytes::Bytes;

    use crate::{RequestBody, RequestBodyError};

    pub(crate) mod chunks {
        use super::{Bytes, RequestBody, RequestBodyError};

        pub(crate) async fn next_chunk(body: &mut RequestBody) -> Result<Option<Bytes>, RequestBodyError> {
            body.chunk().await
        }
    }
}

mod counted {
    //! Names in messages.

    pub(crate) fn shown_name(name: &[u8]) -> String {
        String::from_utf8_lossy(name).chars().take(64).collect()
    }
}

mod task {
    //! Others' turns: there are none.

    pub(crate) async fn give_way() {}
}

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// A body that is all there, in pieces.
pub struct RequestBody(std::vec::IntoIter<Bytes>);

impl RequestBody {
    fn of(body: &[u8], size: usize) -> Self {
        let pieces: Vec<Bytes> = body.chunks(size).map(Bytes::copy_from_slice).collect();
        Self(pieces.into_iter())
    }

    /// The next piece.
    async fn chunk(&mut self) -> Result<Option<Bytes>, RequestBodyError> {
        Ok(self.0.next())
    }

    /// Counts what is kept of it: there is room.
    fn hold(&mut self, _bytes: usize) -> Result<(), RequestBodyError> {
        Ok(())
    }
}

pub mod clients {
    //! Clients: there are none.

    /// A client.
    #[derive(Debug, Clone, Copy)]
    pub struct ClientPrefix;
}

pub mod descriptors {
    //! Files on somebody's account: here on nobody's.

    use std::fs::File;
    use std::io;
    use std::ops::Deref;

    /// A file.
    #[derive(Debug)]
    pub struct OpenFile(File);

    impl OpenFile {
        /// Takes a file.
        pub fn new(file: File, _holder: Option<super::clients::ClientPrefix>) -> io::Result<Self> {
            Ok(Self(file))
        }
    }

    impl Deref for OpenFile {
        type Target = File;

        fn deref(&self) -> &File {
            &self.0
        }
    }
}

/// There is none.
#[derive(Debug, thiserror::Error)]
#[error("never")]
pub enum RequestBodyError {}

impl RequestBodyError {
    fn option(&self) -> Option<&'static str> {
        None
    }

    fn status(&self) -> http::StatusCode {
        http::StatusCode::BAD_REQUEST
    }
}

/// What a future comes to that has nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("there is nothing to wait for"),
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (content_type, body) = input.split_at(end);
    script_forms::compare(content_type, body.get(1..).unwrap_or_default());
});
