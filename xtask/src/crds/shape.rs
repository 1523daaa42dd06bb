//! From the schemas that Rust's types have to those that Kubernetes takes without a warning.
//!
//! Rust's integer formats become `int32` or `int64` with explicit bounds, `null` is not a value, defaults are only those
//! that MetalLB has, and line breaks of doc comments become spaces.

use serde_json::{Map, Value, json};

/// Straightens a schema and everything below it.
pub(crate) fn straighten(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else { return };
    node.remove("nullable");
    node.remove("default");
    if let Some(description) = node.get("description").and_then(Value::as_str) {
        let line = description.split_whitespace().collect::<Vec<_>>().join(" ");
        node.insert("description".to_owned(), json!(line));
    }
    if node.get("type") == Some(&json!("integer")) {
        straighten_integer(node);
    }
    // A spec may be left out where nothing in it is required.
    let spec_is_free = node
        .get("properties")
        .and_then(|all| all.get("spec"))
        .is_some_and(|spec| spec.get("required").is_none());
    if spec_is_free && let Some(required) = node.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "spec");
    }
    if node.get("required").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        node.remove("required");
    }
    for key in ["properties", "patternProperties"] {
        for child in node.get_mut(key).and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
            straighten(child);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = node.get_mut(key) {
            straighten(child);
        }
    }
}

fn straighten_integer(node: &mut Map<String, Value>) {
    let format = node.get("format").and_then(Value::as_str).unwrap_or("int64");
    let (format, low, high) = match format {
        "uint8" => ("int32", Some(0), Some(i64::from(u8::MAX))),
        "uint16" => ("int32", Some(0), Some(i64::from(u16::MAX))),
        "uint32" => ("int64", Some(0), Some(i64::from(u32::MAX))),
        "uint64" => ("int64", Some(0), None),
        "int32" => ("int32", None, None),
        _ => ("int64", None, None),
    };
    node.insert("format".to_owned(), json!(format));
    for (key, bound) in [("minimum", low), ("maximum", high)] {
        node.remove(key);
        if let Some(bound) = bound {
            node.insert(key.to_owned(), json!(bound));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut schema: Value, expected: &Value) {
        straighten(&mut schema);
        assert_eq!(&schema, expected);
    }

    #[test]
    fn rust_integers_become_kubernetes_integers() {
        check(
            json!({"type": "integer", "format": "uint32", "minimum": 0.0, "nullable": true}),
            &json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": 4_294_967_295_u32}),
        );
        check(
            json!({"type": "integer", "format": "uint16", "minimum": 0.0, "maximum": 65535.0}),
            &json!({"type": "integer", "format": "int32", "minimum": 0, "maximum": 65535}),
        );
    }

    #[test]
    fn a_spec_without_required_fields_may_be_left_out() {
        check(
            json!({"type": "object", "required": ["spec"], "properties": {"spec": {"type": "object"}}}),
            &json!({"type": "object", "properties": {"spec": {"type": "object"}}}),
        );
    }
}
