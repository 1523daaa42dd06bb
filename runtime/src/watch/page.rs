//! Where a watch reads: pages of a list, and the answer whose lines are events. Objects come as text, and are read one by one:
//! one that cannot be read does not take the others with it.
//!
//! Leaves out what follows from a page, and knows no kind: this is there once for all of them.

use std::ops::Range;

use http::StatusCode;
use http_body_util::BodyExt as _;
use kube::api::{ListParams, WatchParams};
use kube::client::Body;
use kube::core::{Request, Status};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::Events;

/// Octets of a refusal that are read.
const LONGEST_REFUSAL: usize = 64 << 10;

/// Where pages and events come from.
pub(super) struct Shelf {
    client: Client,
    request: Request,
    metadata_only: bool,
}

/// A page: its objects as text, and what comes after it.
pub(super) struct Page {
    pub(super) texts: Texts,
    pub(super) after: After,
}

/// The objects of a page that are still to be read: the whole page's text, and where they stand in it.
pub(super) struct Texts {
    page: String,
    places: std::vec::IntoIter<Range<usize>>,
}

impl Texts {
    /// The next object.
    pub(super) fn next(&mut self) -> Option<&str> {
        self.page.get(self.places.next()?)
    }
}

/// What comes after a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Another page.
    NextPage {
        /// The server's word for it.
        token: String,
    },
    /// The list is complete; it shows the state of this version.
    Watch {
        /// Where a watch goes on.
        version: String,
    },
}

impl Shelf {
    pub(super) fn of<K: kube::Resource + Clone>(api: &Api<K>) -> Self {
        Self {
            client: api.clone().into_client(),
            request: Request::new(api.resource_url()),
            metadata_only: K::metadata_api(),
        }
    }

    pub(super) async fn read(&self, params: &ListParams) -> Result<Page, kube::Error> {
        let request =
            if self.metadata_only { self.request.list_metadata(params) } else { self.request.list(params) };
        let text = self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await?;
        parse(text).map_err(kube::Error::SerdeError)
    }

    /// The version that the server's state has now.
    pub(super) async fn version(&self) -> Result<String, kube::Error> {
        let params = ListParams { limit: Some(1), ..ListParams::default() };
        let request = self.request.list_metadata(&params).map_err(kube::Error::BuildRequest)?;
        let text = self.client.request_text(request).await?;
        let head: Head = serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
        Ok(head.metadata.resource_version.unwrap_or_default())
    }

    /// Opens a watch behind `version`.
    pub(super) async fn watch(&self, params: &WatchParams, version: &str) -> Result<Events, kube::Error> {
        let request = if self.metadata_only {
            self.request.watch_metadata(params, version)
        } else {
            self.request.watch(params, version)
        };
        let request = request.map_err(kube::Error::BuildRequest)?;
        let answer = self.client.send(request.map(Body::from)).await?;
        match answer.status() {
            status if status.is_success() => Ok(Events::of(answer.into_body())),
            status => Err(kube::Error::Api(Box::new(refusal(status, answer.into_body()).await))),
        }
    }
}

/// What a server says that opens no watch; a proxy says it in its own form.
async fn refusal(status: StatusCode, mut body: Body) -> Status {
    let mut octets = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        octets.extend_from_slice(&frame.into_data().unwrap_or_default());
        if octets.len() > LONGEST_REFUSAL {
            break;
        }
    }
    api::json::from_octets(&octets).unwrap_or_else(|_| {
        let words = String::from_utf8_lossy(&octets);
        Status::failure(words.trim(), status.canonical_reason().unwrap_or_default())
            .with_code(status.as_u16())
    })
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    metadata: ListMeta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: Option<String>,
    r#continue: Option<String>,
}

fn parse(page: String) -> Result<Page, serde_json::Error> {
    let list: List<'_> = serde_json::from_str(&page)?;
    let begin = page.as_ptr().addr();
    let place = |item: &RawValue| {
        let from = item.get().as_ptr().addr() - begin;
        from..from + item.get().len()
    };
    let places: Vec<_> = list.items.unwrap_or_default().into_iter().map(place).collect();
    let after = match list.metadata.r#continue.filter(|token| !token.is_empty()) {
        Some(token) => After::NextPage { token },
        None => After::Watch { version: list.metadata.resource_version.unwrap_or_default() },
    };
    Ok(Page { texts: Texts { page, places: places.into_iter() }, after })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&[&str], After)>) {
        let page = parse(text.to_owned()).ok().map(|mut page| {
            let texts: Vec<String> = std::iter::from_fn(|| page.texts.next().map(str::to_owned)).collect();
            (texts, page.after)
        });
        let expected =
            expected.map(|(texts, after)| (texts.iter().map(ToString::to_string).collect(), after));
        assert_eq!(page, expected, "{text}");
    }

    fn watch(version: &str) -> After {
        After::Watch { version: version.to_owned() }
    }

    #[test]
    fn a_page_gives_its_objects_one_by_one() {
        let next = After::NextPage { token: "t".to_owned() };
        let meta = r#""metadata":{"resourceVersion":"7","continue":""}"#;
        check(
            &format!(r#"{{{meta},"items":[{{"name":"ä"}}, {{"name":"b","x":[1]}}]}}"#),
            Some((&[r#"{"name":"ä"}"#, r#"{"name":"b","x":[1]}"#], watch("7"))),
        );
        check(
            &format!(r#"{{"items":[{{"name":7}},3,null],{meta}}}"#),
            Some((&[r#"{"name":7}"#, "3", "null"], watch("7"))),
        );
        check(&format!(r#"{{{meta},"items":[]}}"#), Some((&[], watch("7"))));
        check(&format!(r#"{{{meta},"items":null}}"#), Some((&[], watch("7"))));
        check(r#"{"metadata":{"resourceVersion":"7","continue":"t"},"items":[]}"#, Some((&[], next)));
        check("{}", Some((&[], watch(""))));
        check("[]", None);
        check(&format!(r#"{{{meta},"items":[{{"name":"#), None);
    }
}
