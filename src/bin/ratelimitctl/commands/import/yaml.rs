//! YAML with the lines that it stands in. Plain scalars are taken as they are written, so that a value
//! `0123` stays one.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, ScanError, YamlData};

/// A node of a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'y> {
    yaml: &'y MarkedYaml<'y>,
    source: &'y str,
}

/// The documents of a text.
pub(super) fn parse(text: &str) -> Result<Vec<MarkedYaml<'_>>, ScanError> {
    MarkedYaml::load_from_str(text)
}

impl<'y> Node<'y> {
    /// A document of `source`.
    pub(super) const fn new(yaml: &'y MarkedYaml<'y>, source: &'y str) -> Self {
        Self { yaml, source }
    }

    /// Its first line.
    pub(super) fn line(self) -> usize {
        self.yaml.span.start.line()
    }

    /// Whether nothing is there.
    pub(super) const fn is_null(self) -> bool {
        matches!(self.yaml.data, YamlData::Value(Scalar::Null))
    }

    /// The text of a scalar; `None` of what is none, or null.
    pub(super) fn text(self) -> Option<String> {
        match &self.yaml.data {
            YamlData::Value(Scalar::String(text)) | YamlData::Representation(text, ..) => {
                Some(text.to_string())
            }
            YamlData::Value(scalar) if *scalar != Scalar::Null => {
                Some(self.written().unwrap_or_else(|| plain(scalar)))
            }
            YamlData::Tagged(_, inner) => Node {
                yaml: inner,
                ..self
            }
            .text(),
            YamlData::Value(_)
            | YamlData::Sequence(_)
            | YamlData::Mapping(_)
            | YamlData::Alias(_)
            | YamlData::BadValue => None,
        }
    }

    /// As it is written, where characters are bytes.
    fn written(self) -> Option<String> {
        let span = &self.yaml.span;
        let range = span.start.index()..span.end.index();
        let text = self.source.is_ascii().then(|| self.source.get(range));
        text.flatten().map(|text| text.trim().to_owned())
    }

    /// Whether it is true, in the words of YAML 1.1 as well; `None` of what is neither.
    pub(super) fn flag(self) -> Option<bool> {
        match self.text()?.to_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => None,
        }
    }

    /// Its items; `None` of what is no list. Null is an empty list.
    pub(super) fn items(self) -> Option<Vec<Self>> {
        match &self.yaml.data {
            YamlData::Value(Scalar::Null) => Some(Vec::new()),
            YamlData::Sequence(items) => {
                let items = items.iter().map(|yaml| Self { yaml, ..self });
                Some(items.collect())
            }
            _ => None,
        }
    }

    /// Its fields by name, each with its line; `None` of what has none.
    pub(super) fn fields(self) -> Option<Vec<(String, usize, Self)>> {
        let YamlData::Mapping(fields) = &self.yaml.data else {
            return None;
        };
        let fields = fields.iter().map(|(name, value)| {
            let name = Self { yaml: name, ..self };
            let value = Self {
                yaml: value,
                ..self
            };
            (name.text().unwrap_or_default(), name.line(), value)
        });
        Some(fields.collect())
    }
}

fn plain(scalar: &Scalar<'_>) -> String {
    match scalar {
        Scalar::Null => String::new(),
        Scalar::Boolean(flag) => flag.to_string(),
        Scalar::Integer(number) => number.to_string(),
        Scalar::FloatingPoint(number) => number.to_string(),
        Scalar::String(text) => text.to_string(),
    }
}
