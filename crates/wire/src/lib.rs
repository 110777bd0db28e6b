//! Kafka's wire protocol: primitives, headers, messages, the API table and error codes. No I/O.
//!
//! Every API has a module named as Kafka names it (`fetch`, `offset_commit`), generated at build
//! time from `schema/<api>.kafka`; the notation is described in `schema/README.md`. Which fields
//! a version has, and whether it is flexible, is known here and nowhere else.
//!
//! Two rules hold for every decoder: it never panics, and it allocates no more than a small
//! multiple of the bytes that are there, whatever lengths those bytes claim.

mod api;
pub mod docs;
mod error;
mod error_code;
pub mod frame;
mod message;
mod reader;
mod records;
mod text;
mod uuid;
mod writer;

pub use api::ApiKey;
pub use error::{DecodeError, EncodeError};
pub use error_code::ErrorCode;
pub use frame::RequestHeader;
pub use message::{Message, Request, Response};
pub use reader::Reader;
pub use records::Records;
pub use text::Text;
pub use uuid::{ParseUuidError, Uuid};
pub use writer::Writer;

/// What `build/` makes of `schema/*.kafka`.
#[allow(missing_docs, unused_variables)]
mod generated {
    use crate::{DecodeError, EncodeError, Message, Reader, Writer, api::Api};

    /// What every module below uses some of.
    #[allow(unused_imports)]
    mod prelude {
        pub(super) use bytes::Bytes;

        pub(super) use crate::{
            ApiKey, DecodeError, EncodeError, Message, Reader, Records, Request, Response, Text, Uuid,
            Writer, message::Struct,
        };
    }

    include!(concat!(env!("OUT_DIR"), "/apis.rs"));
}

pub use generated::*;
