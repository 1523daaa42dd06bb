//! One question to the speaker of this node: `GET` over HTTP/1.1 on its unix socket.

use std::path::Path;
use std::time::Duration;

use api::herald::SpeakerReport;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::failure::{Failure, SocketFault};
use crate::row::Report;

/// More than any speaker has to say: 10,000 routes with their Services are below 5 MB.
const ANSWER_LIMIT: usize = 16 << 20;

/// Asks the speaker behind `path` for its state; `limit` bounds the whole exchange.
///
/// # Errors
/// `Failure::Socket` with what went wrong.
pub(crate) async fn ask(path: &Path, limit: Duration) -> Result<Report, Failure> {
    let report: SpeakerReport = ask_for(path, "/state", limit).await?;
    Ok(Report { node: report.node, written: None, status: report.status })
}

/// Asks the speaker behind `path` one question; `limit` bounds the whole exchange.
///
/// # Errors
/// `Failure::Socket` with what went wrong.
pub(crate) async fn ask_for<T: DeserializeOwned>(
    path: &Path,
    question: &str,
    limit: Duration,
) -> Result<T, Failure> {
    let answer = tokio::time::timeout(limit, exchange(path, question)).await;
    let answer = answer.unwrap_or(Err(SocketFault::Silent(limit)));
    answer.map_err(|fault| Failure::Socket { path: path.to_owned(), fault })
}

async fn exchange<T: DeserializeOwned>(path: &Path, question: &str) -> Result<T, SocketFault> {
    let stream = UnixStream::connect(path).await.map_err(SocketFault::from_connect)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(SocketFault::NotHttp)?;
    let answer = async {
        let response = sender.send_request(request(question)?).await.map_err(SocketFault::NotHttp)?;
        if response.status() != StatusCode::OK {
            return Err(SocketFault::Refused(response.status()));
        }
        let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await.map_err(from_body)?;
        api::json::from_octets(&body.to_bytes()).map_err(SocketFault::NotAReport)
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may end a moment before its last answer is taken.
        _ = connection => answer.await,
    }
}

/// Names of Kubernetes objects are letters, digits, dots and hyphens; anything else was never a name.
fn request(question: &str) -> Result<Request<Empty<Bytes>>, SocketFault> {
    Request::get(question)
        .header(header::HOST, "speaker")
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| SocketFault::Other(std::io::Error::other(error)))
}

fn from_body(error: Box<dyn std::error::Error + Send + Sync>) -> SocketFault {
    match error.downcast::<hyper::Error>() {
        Ok(error) => SocketFault::NotHttp(*error),
        Err(error) if error.is::<LengthLimitError>() => SocketFault::TooLong(ANSWER_LIMIT),
        Err(error) => SocketFault::Other(std::io::Error::other(error)),
    }
}
