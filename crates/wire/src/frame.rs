//! Frames: the int32 size, the header, the body.
//!
//! Reading a frame off a socket, and refusing one that is too large, is the connection's work.

use bytes::Bytes;

use crate::{ApiKey, DecodeError, EncodeError, Message, Reader, Request, Response, Text, Writer};

/// Bytes of the size that opens every frame; the size does not count itself.
pub const SIZE_LENGTH: usize = 4;

/// What stands before every request body. Versions 1 and 2 differ in tagged fields only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestHeader {
    /// API key as sent; it need not be one that is known.
    pub api_key: i16,
    /// Version of the body as sent; it need not be one that is supported.
    pub api_version: i16,
    /// Chosen by the client, returned in the answer.
    pub correlation_id: i32,
    /// Name the client gives itself.
    pub client_id: Option<Text>,
}

impl RequestHeader {
    /// Reads a header, leaving `r` at the body.
    ///
    /// The header of an unknown API, or of a version too new to know, is read as well as can be:
    /// the answer to an unsupported ApiVersions needs its correlation id (test id AV-1).
    pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let header = RequestHeader {
            api_key: r.i16()?,
            api_version: r.i16()?,
            correlation_id: r.i32()?,
            // The client id has an int16 length even in flexible versions (KIP-482).
            client_id: r.nullable_text(false)?,
        };
        if header.api().is_some_and(|api| api.request_header_version(header.api_version) >= 2) {
            r.skip_tagged_fields()?;
        }
        Ok(header)
    }

    /// The API, if its key is known.
    pub fn api(&self) -> Option<ApiKey> {
        ApiKey::from_code(self.api_key)
    }
}

/// Writes the header of a request of `version`.
pub fn put_request_header(
    w: &mut Writer,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) {
    w.i16(api.code());
    w.i16(version);
    w.i32(correlation_id);
    w.nullable_text(&client_id.map(Text::from), false, true);
    if api.request_header_version(version) >= 2 {
        w.varuint(0);
    }
}

/// Writes the header of a response of `version`.
pub fn put_response_header(w: &mut Writer, api: ApiKey, version: i16, correlation_id: i32) {
    w.i32(correlation_id);
    if api.response_header_version(version) >= 1 {
        w.varuint(0);
    }
}

/// Reads the header of a response of `version`; returns its correlation id.
pub fn get_response_header(r: &mut Reader, api: ApiKey, version: i16) -> Result<i32, DecodeError> {
    let correlation_id = r.i32()?;
    if api.response_header_version(version) >= 1 {
        r.skip_tagged_fields()?;
    }
    Ok(correlation_id)
}

/// A whole request frame, size included.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Vec<Bytes>, EncodeError> {
    frame(|w| {
        put_request_header(w, R::KEY, version, correlation_id, client_id);
        request.encode(w, version)
    })
}

/// A whole response frame, size included.
pub fn encode_response<R: Response>(
    response: &R,
    version: i16,
    correlation_id: i32,
) -> Result<Vec<Bytes>, EncodeError> {
    frame(|w| {
        put_response_header(w, R::KEY, version, correlation_id);
        response.encode(w, version)
    })
}

/// Puts the size before what `content` writes.
pub fn frame(
    content: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
) -> Result<Vec<Bytes>, EncodeError> {
    let mut w = Writer::with_capacity(256);
    w.i32(0);
    content(&mut w)?;
    let (length, limit) = (w.len() - SIZE_LENGTH, i32::MAX as usize);
    if length > limit {
        return Err(EncodeError::TooLong { length, limit });
    }
    w.set_i32(0, length as i32);
    Ok(w.finish())
}

/// Reads a response body after its header. `r` starts after the frame's size.
///
/// Whether the correlation id is the expected one is for the caller to judge.
pub fn decode_response<R: Request>(r: &mut Reader, version: i16) -> Result<(i32, R::Response), DecodeError> {
    let correlation_id = get_response_header(r, R::KEY, version)?;
    Ok((correlation_id, R::Response::decode(r, version)?))
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
