//! YAML text as a tree whose scalars stay text, each node with its line.
//!
//! Text stays text because a field decides what it holds, not its look: a token of digits is a token, as kubectl has it. Leaves
//! out tags and merge keys (`<<`).

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};
use k8s_openapi::ByteString;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde_json::Value;

/// Nodes within nodes; kubeconfigs have five levels, and extensions a few more.
const DEEPEST: usize = 64;
/// Nodes of a file, those counted again that an alias repeats.
const MOST: usize = 200_000;

/// A value and the line that it begins on.
#[derive(Clone, Debug)]
pub(super) struct Node {
    line: usize,
    content: Content,
}

/// A mapping without entries.
pub(super) static NOTHING: Node = Node { line: 0, content: Content::Mapping(Vec::new()) };

#[derive(Clone, Debug)]
enum Content {
    /// The text, and whether it was written without quotes.
    Scalar(String, bool),
    Sequence(Vec<Node>),
    Mapping(Vec<(String, Node)>),
}

/// What is wrong, and where. Never quotes the file, which holds secrets.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {reason}")]
pub struct SyntaxFault {
    line: usize,
    reason: String,
}

impl SyntaxFault {
    fn new(line: usize, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}

/// Reads the only document of `text`; a text without any is an empty mapping.
///
/// # Errors
/// [`SyntaxFault`] at the first place that is not YAML, or YAML of a kind that no kubeconfig has.
pub(super) fn read(text: &str) -> Result<Node, SyntaxFault> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| SyntaxFault::new(error.marker().line(), error.info()))?;
        builder.take(event, span)?;
    }
    Ok(builder.root.unwrap_or(Node { line: 1, content: Content::Mapping(Vec::new()) }))
}

impl Node {
    /// The value of a key of this mapping; an empty one and `null` count as absent.
    pub(super) fn get(&self, key: &str) -> Result<Option<&Self>, SyntaxFault> {
        let found = match &self.content {
            Content::Mapping(entries) => entries.iter().find(|(name, _)| name == key),
            Content::Scalar(..) if self.is_null() => None,
            Content::Scalar(..) | Content::Sequence(_) => return Err(self.wrong("a mapping")),
        };
        Ok(found.map(|(_, node)| node).filter(|node| !node.is_null()))
    }

    /// The text of a key; an empty one counts as absent.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, SyntaxFault> {
        let text = self.get(key)?.map(Self::as_text).transpose()?;
        Ok(text.filter(|text| !text.is_empty()).map(str::to_owned))
    }

    /// The text of this scalar.
    pub(super) fn as_text(&self) -> Result<&str, SyntaxFault> {
        match &self.content {
            Content::Scalar(text, _) => Ok(text),
            Content::Sequence(_) | Content::Mapping(_) => Err(self.wrong("text")),
        }
    }

    /// A key that is true or false; absent is false.
    pub(super) fn flag(&self, key: &str) -> Result<bool, SyntaxFault> {
        let Some(node) = self.get(key)? else { return Ok(false) };
        match node.as_text()? {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            _ => Err(node.wrong("true or false")),
        }
    }

    /// The octets that a key holds as base64; none count as absent.
    pub(super) fn octets(&self, key: &str) -> Result<Option<Vec<u8>>, SyntaxFault> {
        let Some(node) = self.get(key)? else { return Ok(None) };
        let text: String = node.as_text()?.split_ascii_whitespace().collect();
        let read: StrDeserializer<'_, ValueError> = text.as_str().into_deserializer();
        let octets = ByteString::deserialize(read).map_err(|_| node.wrong("base64"))?.0;
        Ok(Some(octets).filter(|octets| !octets.is_empty()))
    }

    /// The sequence of a key; absent is empty.
    pub(super) fn list(&self, key: &str) -> Result<&[Self], SyntaxFault> {
        let Some(node) = self.get(key)? else { return Ok(&[]) };
        match &node.content {
            Content::Sequence(nodes) => Ok(nodes),
            Content::Scalar(..) | Content::Mapping(_) => Err(node.wrong("a list")),
        }
    }

    /// As JSON: here the look of a scalar without quotes decides, as nothing else is known of it.
    pub(super) fn json(&self) -> Value {
        match &self.content {
            Content::Scalar(..) if self.is_null() => Value::Null,
            Content::Scalar(text, true) => {
                let read = serde_json::from_str(text).ok().filter(|value: &Value| !value.is_string());
                read.unwrap_or_else(|| Value::String(text.clone()))
            }
            Content::Scalar(text, false) => Value::String(text.clone()),
            Content::Sequence(nodes) => Value::Array(nodes.iter().map(Self::json).collect()),
            Content::Mapping(entries) => {
                Value::Object(entries.iter().map(|(key, node)| (key.clone(), node.json())).collect())
            }
        }
    }

    /// What to say where this is not what it has to be.
    pub(super) fn wrong(&self, wanted: &str) -> SyntaxFault {
        SyntaxFault::new(self.line, format!("expected {wanted}"))
    }

    fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(text, true) if ["", "~", "null", "Null", "NULL"].contains(&text.as_str()))
    }

    /// Itself and all nodes within.
    fn count(&self) -> usize {
        1 + match &self.content {
            Content::Scalar(..) => 0,
            Content::Sequence(nodes) => nodes.iter().map(Self::count).sum(),
            Content::Mapping(entries) => entries.iter().map(|(_, node)| node.count()).sum(),
        }
    }
}

/// Puts the parser's events together.
#[derive(Default)]
struct Builder {
    root: Option<Node>,
    /// Collections that have not ended, the innermost last.
    open: Vec<Open>,
    /// What aliases may repeat, by the parser's number.
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

struct Open {
    line: usize,
    anchor: usize,
    content: Filling,
}

enum Filling {
    Sequence(Vec<Node>),
    /// The entries, and the key whose value comes next.
    Mapping(Vec<(String, Node)>, Option<String>),
}

impl Builder {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's events may become more")]
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxFault> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let content = Content::Scalar(text.into_owned(), style == ScalarStyle::Plain);
                self.finish(Node { line, content }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(line, anchor, Filling::Sequence(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.begin(line, anchor, Filling::Mapping(Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let content = match open.content {
                    Filling::Sequence(nodes) => Content::Sequence(nodes),
                    Filling::Mapping(entries, _) => Content::Mapping(entries),
                };
                self.finish(Node { line: open.line, content }, open.anchor)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    self.nodes = self.nodes.saturating_add(node.count());
                    let node = node.clone();
                    self.finish(node, 0)
                }
                None => Err(SyntaxFault::new(line, "an alias within what it repeats")),
            },
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(SyntaxFault::new(line, "a second document"))
            }
            // Comments and the edges of documents: no values.
            _ => Ok(()),
        }
    }

    fn begin(&mut self, line: usize, anchor: usize, content: Filling) -> Result<(), SyntaxFault> {
        if self.open.len() == DEEPEST {
            return Err(SyntaxFault::new(line, format!("more than {DEEPEST} levels")));
        }
        self.open.push(Open { line, anchor, content });
        Ok(())
    }

    /// A node is whole: it goes to where it belongs.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxFault> {
        self.nodes += 1;
        if self.nodes > MOST {
            return Err(SyntaxFault::new(node.line, format!("more than {MOST} values")));
        }
        if anchor != 0 {
            self.nodes = self.nodes.saturating_add(node.count());
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.content {
            Filling::Sequence(nodes) => nodes.push(node),
            Filling::Mapping(entries, key) => match key.take() {
                Some(name) => entries.push((name, node)),
                None => *key = Some(key_of(&node, entries)?),
            },
        }
        Ok(())
    }
}

fn key_of(node: &Node, entries: &[(String, Node)]) -> Result<String, SyntaxFault> {
    let name = node.as_text()?;
    if name == "<<" {
        return Err(SyntaxFault::new(node.line, "merge keys (<<) are not read"));
    }
    if entries.iter().any(|(known, _)| known == name) {
        return Err(SyntaxFault::new(node.line, "this key stands here twice"));
    }
    Ok(name.to_owned())
}
