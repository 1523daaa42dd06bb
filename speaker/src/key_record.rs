//! The key of a session as it is written down: for a successor of this process, and in the plan on file where that is in
//! memory. Passwords were first and keep their own place, so that another version of the speaker reads them.

use api::config::{Password, SessionKey, TcpAo, TcpAoAlgorithm};
use serde::{Deserialize, Serialize};

/// A TCP-AO master key tuple. No `Debug`: the key is in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpAoRecord {
    key: Vec<u8>,
    send_id: u8,
    recv_id: u8,
    algorithm: String,
}

/// A key, as a password or as a TCP-AO key.
#[must_use]
pub fn record(key: Option<&SessionKey>) -> (Option<Vec<u8>>, Option<TcpAoRecord>) {
    match key {
        None => (None, None),
        Some(SessionKey::Md5(password)) => (Some(password.octets().to_vec()), None),
        Some(SessionKey::TcpAo(key)) => {
            let record = TcpAoRecord {
                key: key.key.octets().to_vec(),
                send_id: key.send_id,
                recv_id: key.recv_id,
                algorithm: key.algorithm.word().to_owned(),
            };
            (None, Some(record))
        }
    }
}

/// The key again; `None` where there was none.
///
/// # Errors
/// [`UnreadableKey`] when a key was written down that this version cannot use: the session must not run without it.
pub fn key_of(
    password: Option<&[u8]>,
    tcp_ao: Option<&TcpAoRecord>,
) -> Result<Option<SessionKey>, UnreadableKey> {
    let Some(record) = tcp_ao else {
        let key = password.map(|octets| Password::try_new(octets).ok_or(UnreadableKey));
        return Ok(key.transpose()?.map(SessionKey::Md5));
    };
    Ok(Some(SessionKey::TcpAo(TcpAo {
        key: Password::try_new(record.key.as_slice()).ok_or(UnreadableKey)?,
        send_id: record.send_id,
        recv_id: record.recv_id,
        algorithm: TcpAoAlgorithm::of_word(&record.algorithm).ok_or(UnreadableKey)?,
    })))
}

/// A key was written down that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session's key cannot be read")]
pub struct UnreadableKey;

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp_ao(algorithm: TcpAoAlgorithm) -> SessionKey {
        let key = Password::try_new("hunter2").unwrap();
        SessionKey::TcpAo(TcpAo { key, send_id: 1, recv_id: 255, algorithm })
    }

    #[test]
    fn keys_come_back_as_they_were() {
        let password = Password::try_new("hunter2").map(SessionKey::Md5);
        let signed = TcpAoAlgorithm::ALL.map(|algorithm| Some(tcp_ao(algorithm)));
        for key in signed.into_iter().chain([None, password]) {
            let (password, tcp_ao) = record(key.as_ref());
            let text = serde_json::to_string(&(password, tcp_ao)).unwrap();
            let (password, tcp_ao): (Option<Vec<u8>>, Option<TcpAoRecord>) =
                serde_json::from_str(&text).unwrap();
            assert_eq!(key_of(password.as_deref(), tcp_ao.as_ref()), Ok(key));
        }
    }

    #[test]
    fn a_key_that_cannot_be_read_is_not_taken_for_none() {
        assert_eq!(key_of(Some(&[]), None), Err(UnreadableKey));
        let (_, written) = record(Some(&tcp_ao(TcpAoAlgorithm::HmacSha1)));
        let strange = TcpAoRecord { algorithm: "rot13".to_owned(), ..written.unwrap() };
        assert_eq!(key_of(None, Some(&strange)), Err(UnreadableKey));
    }
}
