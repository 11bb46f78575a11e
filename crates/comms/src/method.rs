//! What is known of a method without calling it: for errors, which name what there is, and for tools.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A method that others may call, as [`Runtime::methods`](crate::Runtime::methods) describes it.
///
/// It is displayed as it would be written: `scale(field, factor = 1.0)`.
///
/// # Example
/// ```
/// use mosaic_comms::Runtime;
///
/// struct Solver;
///
/// #[mosaic_comms::runtime]
/// impl Solver {
///     /// Scales a field.
///     pub async fn scale(&self, field: Vec<f32>, #[arg(default = 1.0)] factor: f32) -> Vec<f32> {
///         field.into_iter().map(|value| value * factor).collect()
///     }
/// }
///
/// let scale = &Solver.methods()[0];
/// assert_eq!(scale.to_string(), "scale(field, factor = 1.0)");
/// assert_eq!(scale.docs(), "Scales a field.");
/// assert!(scale.arguments().unwrap()[0].default().is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    name: String,
    docs: String,
    arguments: Option<Vec<Argument>>,
}

/// An argument of a [`Method`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    name: String,
    default: Option<String>,
}

impl Method {
    /// A method of which nothing but the name is known.
    pub fn new(name: impl Into<String>) -> Method {
        Method { name: name.into(), docs: String::new(), arguments: None }
    }

    /// The same with its documentation, line by line. A space in front, as behind `///`, is left out.
    #[must_use]
    pub fn with_docs(mut self, lines: &[&str]) -> Method {
        let lines = lines.iter().flat_map(|text| text.split('\n'));
        let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        lines.join("\n").trim_end().clone_into(&mut self.docs);
        self
    }

    /// The same with all its arguments.
    #[must_use]
    pub fn with_arguments(mut self, arguments: impl IntoIterator<Item = Argument>) -> Method {
        self.arguments = Some(arguments.into_iter().collect());
        self
    }

    /// Its name on the wire.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its documentation, without a line break at the end; empty if there is none.
    pub fn docs(&self) -> &str {
        &self.docs
    }

    /// Its arguments, in the order in which they are written; `None` if they are not known, as with closures.
    pub fn arguments(&self) -> Option<&[Argument]> {
        self.arguments.as_deref()
    }
}

impl Argument {
    /// An argument that must be given.
    pub fn required(name: impl Into<String>) -> Argument {
        Argument { name: name.into(), default: None }
    }

    /// An argument that may be left out, with what it is then, as source text.
    pub fn optional(name: impl Into<String>, default: impl Into<String>) -> Argument {
        Argument { name: name.into(), default: Some(default.into()) }
    }

    /// Its name on the wire.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is where it is left out, as source text; `None` if it must be given.
    pub fn default(&self) -> Option<&str> {
        self.default.as_deref()
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments = match &self.arguments {
            Some(arguments) => arguments.iter().map(Argument::to_string).collect::<Vec<_>>().join(", "),
            None => "..".to_owned(),
        };
        write!(f, "{}({arguments})", self.name)
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.default.iter().try_for_each(|default| write!(f, " = {default}"))
    }
}
