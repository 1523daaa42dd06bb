//! Pages of a list and events of a watch. Objects come as text, and are read one by one: one that cannot be read does not take
//! the others with it, and how a kind is read is there once.
//!
//! Leaves out what follows from a page or an event. A page is parsed in place; only the objects wanted are kept.

use std::pin::Pin;

use futures::Stream;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Request;
use kube::{Api, Client};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// An object of an event, as text.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Text(Box<RawValue>);

impl Text {
    /// The object, if it has the form of its kind; else what is wrong with it.
    pub(super) fn read<K: DeserializeOwned>(&self) -> Result<K, String> {
        serde_json::from_str(self.0.get()).map_err(|error| error.to_string())
    }
}

/// What comes of a watch.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<WatchEvent<Text>, kube::Error>> + Send>>;

/// Where pages and events come from.
pub(super) struct Shelf {
    client: Client,
    request: Request,
    metadata_only: bool,
}

/// A page: its objects, what was wrong with those that are missing, and what comes after it.
pub(super) struct Page<K> {
    pub(super) objects: Vec<K>,
    pub(super) unreadable: Vec<String>,
    pub(super) after: After,
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

    pub(super) async fn read<K: DeserializeOwned>(
        &self,
        params: &ListParams,
    ) -> Result<Page<K>, kube::Error> {
        let request =
            if self.metadata_only { self.request.list_metadata(params) } else { self.request.list(params) };
        let text = self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await?;
        parse(&text).map_err(kube::Error::SerdeError)
    }
}

impl Shelf {
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
        Ok(Box::pin(self.client.request_events::<Text>(request).await?))
    }
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

fn parse<K: DeserializeOwned>(text: &str) -> Result<Page<K>, serde_json::Error> {
    let list: List<'_> = serde_json::from_str(text)?;
    let items = list.items.unwrap_or_default();
    let (mut objects, mut unreadable) = (Vec::with_capacity(items.len()), Vec::new());
    for item in items {
        match serde_json::from_str(item.get()) {
            Ok(object) => objects.push(object),
            Err(error) => unreadable.push(error.to_string()),
        }
    }
    let after = match list.metadata.r#continue.filter(|token| !token.is_empty()) {
        Some(token) => After::NextPage { token },
        None => After::Watch { version: list.metadata.resource_version.unwrap_or_default() },
    };
    Ok(Page { objects, unreadable, after })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq, Eq)]
    struct Named {
        name: String,
    }

    fn check(text: &str, expected: Option<(&[&str], usize, After)>) {
        let page = parse::<Named>(text).ok().map(|page| {
            let names: Vec<String> = page.objects.into_iter().map(|object| object.name).collect();
            (names, page.unreadable.len(), page.after)
        });
        let expected =
            expected.map(|(names, bad, after)| (names.iter().map(ToString::to_string).collect(), bad, after));
        assert_eq!(page, expected, "{text}");
    }

    fn watch(version: &str) -> After {
        After::Watch { version: version.to_owned() }
    }

    #[test]
    fn a_page_gives_what_can_be_read_of_it() {
        let next = After::NextPage { token: "t".to_owned() };
        let meta = r#""metadata":{"resourceVersion":"7","continue":""}"#;
        check(
            &format!(r#"{{{meta},"items":[{{"name":"a"}},{{"name":"b","x":[1]}}]}}"#),
            Some((&["a", "b"], 0, watch("7"))),
        );
        check(
            &format!(r#"{{"items":[{{"name":7}},{{"name":"b"}},3,null],{meta}}}"#),
            Some((&["b"], 3, watch("7"))),
        );
        check(&format!(r#"{{{meta},"items":[]}}"#), Some((&[], 0, watch("7"))));
        check(&format!(r#"{{{meta},"items":null}}"#), Some((&[], 0, watch("7"))));
        check(r#"{"metadata":{"resourceVersion":"7","continue":"t"},"items":[]}"#, Some((&[], 0, next)));
        check("{}", Some((&[], 0, watch(""))));
        check("[]", None);
        check(&format!(r#"{{{meta},"items":[{{"name":"#), None);
    }
}
