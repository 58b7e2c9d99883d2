//! JSON objects and nothing else. What serde derives for a struct also takes a list of its fields'
//! values, in their order: `["user-42", 3]` would be read as a key and a cost, which nobody has said.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A `T` that came as an object.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// A list of objects, for `deserialize_with`.
pub(crate) fn objects<'de, D, T>(input: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let objects = Vec::<Object<T>>::deserialize(input)?;
    Ok(objects.into_iter().map(|object| object.0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        key: String,
        #[serde(default)]
        cost: u64,
    }

    #[derive(Debug, Deserialize)]
    struct Pairs {
        #[serde(deserialize_with = "objects")]
        pairs: Vec<Pair>,
    }

    #[test]
    fn a_list_is_no_object() {
        let read = |text| serde_json::from_str::<Object<Pair>>(text);
        let Object(pair) = read(r#"{"key": "a", "cost": 3}"#).unwrap();
        assert_eq!((pair.key.as_str(), pair.cost), ("a", 3));
        assert_eq!(read(r#"{"key": "a"}"#).unwrap().0.cost, 0);
        for wrong in [r#"["a", 3]"#, "[]", "null", "\"a\"", "3", r#"{"kez": "a"}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let told = read("[]").unwrap_err().to_string();
        assert!(told.contains("expected an object"), "{told}");
    }

    #[test]
    fn lists_in_a_list_are_no_objects() {
        let read = |text| serde_json::from_str::<Pairs>(text);
        let both = read(r#"{"pairs": [{"key": "a"}, {"key": "b"}]}"#).unwrap();
        assert_eq!(both.pairs.len(), 2);
        assert!(read(r#"{"pairs": [["a", 3]]}"#).is_err());
    }
}
