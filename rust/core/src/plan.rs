//! The schema plan: what a record of one Pydantic model looks like, compiled once.
//!
//! The plan drives everything that Rust does with records: check, keys, merges and, in the
//! binding, encode and decode. What it does not cover is [`Node::Opaque`], and a record that
//! reaches such a node is Pydantic's to judge.

/// Index of a [`Node`] in [`Plan::nodes`]; recursive schemas point back.
pub type NodeId = u32;

/// A compiled schema.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// All nodes; children are ids into this list.
    pub nodes: Vec<Node>,
    /// The node of the whole record: a [`Node::Model`], or [`Node::Opaque`] for a model whose
    /// records are not objects with known fields.
    pub root: NodeId,
}

impl Plan {
    /// The node with this id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// The model at the root, if the record is an object with known fields.
    #[must_use]
    pub fn model(&self) -> Option<&Model> {
        match self.nodes.get(self.root as usize) {
            Some(Node::Model(model)) => Some(model),
            _ => None,
        }
    }
}

/// The shape of one JSON value.
#[derive(Debug, Clone)]
pub enum Node {
    /// Any JSON value (objects, arrays and scalars as they are).
    Any,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// An integer of any size, within optional inclusive bounds.
    Int {
        /// The least value accepted.
        min: Option<i64>,
        /// The greatest value accepted.
        max: Option<i64>,
    },
    /// A float; a non-finite one is the string `"NaN"`, `"Infinity"` or `"-Infinity"`.
    Float {
        /// The lower bound.
        min: Option<Limit>,
        /// The upper bound.
        max: Option<Limit>,
        /// Whether non-finite values are accepted.
        inf_nan: bool,
    },
    /// A string, its length counted in Unicode code points.
    Str {
        /// The least length accepted.
        min: usize,
        /// The greatest length accepted (`usize::MAX`: no limit).
        max: usize,
    },
    /// A string that holds the canonical text of another type.
    Text(Text),
    /// One of a fixed list of values (literals, enums), each as canonical JSON bytes.
    Choice(Vec<Box<[u8]>>),
    /// The inner value or `null`.
    Nullable(NodeId),
    /// An array of any length within limits.
    List(Items),
    /// An array without order whose elements stand sorted by their bytes.
    Set(Items),
    /// An array with one node for each position.
    Tuple(Vec<NodeId>),
    /// An object with any keys. Keys are strings; their order is kept.
    Dict(Items),
    /// An object with known fields.
    Model(Model),
    /// The first variant that fits decides; variants are told apart by their JSON kind alone, but
    /// for models, which are by the choice in their first field.
    Union(Vec<NodeId>),
    /// One of these, but only Pydantic can tell beyond doubt which: they serve merges alone.
    OneOf(Vec<NodeId>),
    /// Only Pydantic can judge this value.
    Opaque,
}

/// A bound of a float.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The limit.
    pub at: f64,
    /// Whether the limit itself is excluded.
    pub open: bool,
}

/// Element and length limits of a list, set or dict.
#[derive(Debug, Clone, Copy)]
pub struct Items {
    /// The node of each element (of each value, in a dict).
    pub item: NodeId,
    /// The least number of elements.
    pub min: usize,
    /// The greatest number of elements (`usize::MAX`: no limit).
    pub max: usize,
}

/// The kinds of text in a [`Node::Text`], each as Pydantic writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// `2024-02-29`.
    Date,
    /// `2024-02-29T12:00:00.123456Z`: microseconds in six digits or none, an offset or none.
    DateTime,
    /// `12:00:00.123456`, an offset or none.
    Time,
    /// ISO 8601 duration as Pydantic writes it, `P1DT2H`.
    Duration,
    /// Lower-case hexadecimal with hyphens.
    Uuid,
    /// `Decimal`'s own text.
    Decimal,
    /// Bytes that are UTF-8, as a string.
    Bytes,
}

/// An object with known fields, in schema order.
#[derive(Debug, Clone)]
pub struct Model {
    /// The declared fields.
    pub fields: Vec<Field>,
    /// False where Pydantic must encode, check and decode (a validator or serializer on the
    /// model, `extra="allow"`…); the fields then serve keys and merges alone.
    pub covered: bool,
}

/// One declared field of a [`Model`].
#[derive(Debug, Clone)]
pub struct Field {
    /// The field name (not an alias).
    pub name: String,
    /// What stands before the value in a canonical record: `{"name":` for the first field,
    /// `,"name":` for the others, the name escaped as JSON.
    pub prefix: Box<[u8]>,
    /// The value's shape.
    pub node: NodeId,
    /// The default's canonical JSON, where the field has one that is the same every time.
    pub default: Option<Box<[u8]>>,
    /// The field's own merge rule, where its annotation has one.
    pub rule: Option<Rule>,
}

/// A merge rule of one field (`Annotated[int, Merge.MAX]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The greater value.
    Max,
    /// The lesser value.
    Min,
    /// The sum.
    Sum,
    /// What was there first stays.
    KeepExisting,
    /// What comes replaces.
    KeepIncoming,
    /// Union of lists or sets, in order of first appearance.
    Union,
    /// Lists one after the other.
    Append,
    /// The incoming list replaces.
    Replace,
    /// The longer text.
    Longest,
    /// A Python function decides, by its index in the schema's list of functions.
    Custom(u32),
}

impl Rule {
    /// What it is called in Python, and the types that it takes.
    #[must_use]
    pub fn described(self) -> (&'static str, &'static str) {
        const SCALARS: &str = "numbers, bools, texts, dates and times, of one kind";
        match self {
            Rule::Max => ("MAX", SCALARS),
            Rule::Min => ("MIN", SCALARS),
            Rule::Sum => ("SUM", "int, float and Decimal"),
            Rule::KeepExisting => ("KEEP_EXISTING", "everything"),
            Rule::KeepIncoming => ("KEEP_INCOMING", "everything"),
            Rule::Union => ("UNION", "lists and sets"),
            Rule::Append => ("APPEND", "lists"),
            Rule::Replace => ("REPLACE", "lists, sets, dicts and models"),
            Rule::Longest => ("LONGEST", "str and bytes"),
            Rule::Custom(_) => ("custom", "everything"),
        }
    }
}
