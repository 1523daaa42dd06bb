//! One question to the speaker of this node: `GET /state` over HTTP/1.1 on its unix socket.

use std::path::Path;
use std::time::Duration;

use api::herald::SpeakerReport;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::failure::{Failure, SocketFault};
use crate::row::Report;

/// More than any speaker has to say (100 withheld Services and some dozens of peers are below 100 kB).
const ANSWER_LIMIT: usize = 16 << 20;

/// Asks the speaker behind `path`; `limit` bounds the whole exchange.
///
/// # Errors
/// `Failure::Socket` with what went wrong.
pub(crate) async fn ask(path: &Path, limit: Duration) -> Result<Report, Failure> {
    let answer = tokio::time::timeout(limit, exchange(path)).await.unwrap_or(Err(SocketFault::Silent(limit)));
    answer.map_err(|fault| Failure::Socket { path: path.to_owned(), fault })
}

async fn exchange(path: &Path) -> Result<Report, SocketFault> {
    let stream = UnixStream::connect(path).await.map_err(SocketFault::from_connect)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(SocketFault::NotHttp)?;
    let answer = async {
        let response = sender.send_request(request()).await.map_err(SocketFault::NotHttp)?;
        if response.status() != StatusCode::OK {
            return Err(SocketFault::Refused(response.status()));
        }
        let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await.map_err(from_body)?;
        report(&body.to_bytes())
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may end a moment before its last answer is taken.
        _ = connection => answer.await,
    }
}

fn request() -> Request<Empty<Bytes>> {
    Request::get("/state")
        .header(header::HOST, "speaker")
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .expect("a constant request is well formed")
}

fn from_body(error: Box<dyn std::error::Error + Send + Sync>) -> SocketFault {
    match error.downcast::<hyper::Error>() {
        Ok(error) => SocketFault::NotHttp(*error),
        Err(error) if error.is::<LengthLimitError>() => SocketFault::TooLong(ANSWER_LIMIT),
        Err(error) => SocketFault::Other(std::io::Error::other(error)),
    }
}

fn report(octets: &[u8]) -> Result<Report, SocketFault> {
    let report: SpeakerReport = serde_json::from_slice(octets).map_err(SocketFault::NotAReport)?;
    Ok(Report { node: report.node, written: None, status: report.status })
}
