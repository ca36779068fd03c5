//! MERGE_FIELD: one observation merged into a value, along the plan.

use std::cmp::Ordering;

use super::members::Met;
use super::rules::{self, Sides};
use super::union::Elements;
use super::value::{Members, Value};
use super::{Conflict, Custom, Lists, Merged, Merger, Outcome, Unobserved, split};
use crate::error::reserve;
use crate::json::scan::MAX_DEPTH;
use crate::plan::{Field, Model, Node, NodeId, Plan, Rule};

/// The range of a value in the incoming record.
type Part = (usize, usize);

/// An observation on its way into a [`Value`].
pub(super) struct Walk<'a, 'w> {
    pub(super) merger: &'w Merger<'a>,
    /// The incoming record.
    pub(super) record: &'a [u8],
    pub(super) unobserved: Unobserved<'w>,
    /// How many of the unset ranges lie behind.
    pub(super) passed: usize,
    pub(super) custom: &'w mut Custom<'w>,
    /// Room for the ranges of split objects, the innermost last.
    pub(super) parts: &'w mut Vec<Part>,
    pub(super) merged: Merged,
}

impl<'a> Walk<'a, '_> {
    fn bytes(&self, part: Part) -> &'a [u8] {
        &self.record[part.0..part.1]
    }

    /// Merges the value of a field or member: what is null or unset changes nothing.
    fn member(
        &mut self,
        (field, node): (Option<&'a Field>, Option<NodeId>),
        existing: &mut Value<'a>,
        part: Part,
        depth: usize,
    ) -> Outcome<()> {
        let incoming = self.bytes(part);
        if incoming == b"null" || self.is_unset(field, part) {
            return Ok(());
        }
        if existing.is_null() {
            self.replace(existing, Value::Raw(incoming));
            return Ok(());
        }
        match field.and_then(|field| Some((field, field.rule?))) {
            None => self.value(node, existing, part, depth),
            Some((field, rule)) => self.rule(field, rule, existing, part),
        }
    }

    fn is_unset(&mut self, field: Option<&Field>, part: Part) -> bool {
        match self.unobserved {
            Unobserved::Ranges(ranges) => {
                let rest = &ranges[self.passed..];
                self.passed +=
                    rest.iter().take_while(|range| (range.start as usize) < part.0).count();
                ranges.get(self.passed).is_some_and(|range| range.start as usize == part.0)
            }
            Unobserved::Defaults => field
                .and_then(|field| field.default.as_deref())
                .is_some_and(|default| default == self.bytes(part)),
        }
    }

    fn rule(
        &mut self,
        field: &'a Field,
        rule: Rule,
        existing: &mut Value<'a>,
        part: Part,
    ) -> Outcome<()> {
        let incoming = self.bytes(part);
        if matches!(rule, Rule::Union | Rule::Append) {
            if existing.kind() != b'[' || incoming.first() != Some(&b'[') {
                return Err(Conflict::of("both values must be lists"));
            }
            let how = if rule == Rule::Union { Lists::Union } else { Lists::Append };
            let shape = self.merger.resolve(Some(field.node), b'[');
            self.list(shape, existing, incoming, how)?;
            self.merged.doubtful |= is_doubtful(self.merger.plan, shape, existing);
            return Ok(());
        }
        let old = existing.bytes().ok_or_else(Conflict::unreadable)?;
        let sides = Sides { plan: self.merger.plan, node: field.node, existing: old, incoming };
        let wins = match rule {
            Rule::KeepExisting => field.default.as_deref() == Some(old),
            Rule::Max => rules::is_better(&sides, Ordering::Greater)?,
            Rule::Min => rules::is_better(&sides, Ordering::Less)?,
            Rule::Longest => rules::is_longer(&sides)?,
            Rule::Sum => {
                let (sum, doubtful) = rules::sum(&sides)?;
                self.merged.doubtful |= doubtful;
                self.replace(existing, Value::Built(sum));
                false
            }
            Rule::Custom(function) => {
                let mut out = Vec::new();
                (self.custom)(function, old, incoming, &mut out)?;
                self.merged.doubtful = true;
                self.replace(existing, Value::Built(out));
                false
            }
            Rule::KeepIncoming | Rule::Replace | Rule::Union | Rule::Append => true,
        };
        if wins {
            self.replace(existing, Value::Raw(incoming));
        }
        Ok(())
    }

    fn replace(&mut self, existing: &mut Value<'a>, new: Value<'a>) {
        self.merged.changed |= existing.bytes() != new.bytes();
        *existing = new;
    }

    /// Merges two lists or two objects; anything else is overwritten.
    pub(super) fn value(
        &mut self,
        node: Option<NodeId>,
        existing: &mut Value<'a>,
        part: Part,
        depth: usize,
    ) -> Outcome<()> {
        let incoming = self.bytes(part);
        let kind = incoming.first().copied().unwrap_or(0);
        if kind != existing.kind() || !matches!(kind, b'[' | b'{') {
            self.replace(existing, Value::Raw(incoming));
            return Ok(());
        }
        if depth >= MAX_DEPTH {
            return Err(Conflict::of("the record is nested too deeply"));
        }
        let (mut shape, mut member) = (self.merger.resolve(node, kind), None);
        match self.merger.unions.meet(node, existing, incoming) {
            Met::Apart if incoming != b"[]" => {
                self.replace(existing, Value::Raw(incoming));
                return Ok(());
            }
            Met::Same(found) if kind == b'{' => {
                shape = found.map(|id| self.merger.plan.node(id));
                member = Some(found);
            }
            _ => {}
        }
        let outer = std::mem::take(&mut self.merged.changed);
        match (kind, shape) {
            (b'[', Some(Node::Tuple(_))) => self.replace(existing, Value::Raw(incoming)),
            (b'[', Some(Node::Set(_))) => self.list(shape, existing, incoming, Lists::Union)?,
            (b'[', _) => self.list(shape, existing, incoming, self.merger.lists)?,
            (b'{', Some(Node::Model(model))) => self.model(model, existing, part, depth)?,
            (b'{', Some(Node::Dict(items))) => {
                self.object(Keys::Any(Some(items.item)), existing, part, depth)?;
            }
            _ => self.object(Keys::Any(None), existing, part, depth)?,
        }
        if let (Value::Dict(members), Some(member)) = (&mut *existing, member) {
            members.member = member;
        }
        // What was merged as one member of a union may read as another.
        self.merged.doubtful |= self.merged.changed
            && (member.is_some() || is_doubtful(self.merger.plan, shape, existing));
        self.merged.changed |= outer;
        Ok(())
    }

    fn list(
        &mut self,
        shape: Option<&Node>,
        existing: &mut Value<'a>,
        incoming: &'a [u8],
        how: Lists,
    ) -> Outcome<()> {
        if how == Lists::Replace {
            self.replace(existing, Value::Raw(incoming));
            return Ok(());
        }
        if incoming == b"[]" || (how == Lists::Union && existing.bytes() == Some(incoming)) {
            return Ok(());
        }
        if let Value::Raw(text) = *existing {
            let (set, free) = match shape {
                Some(Node::List(items)) => (false, self.merger.is_free(items.item)),
                Some(Node::Set(items)) => (true, self.merger.is_free(items.item)),
                _ => (false, true),
            };
            let elements = Elements::split(text, set, free)?.ok_or_else(Conflict::unreadable)?;
            *existing = Value::List(elements);
        }
        let Value::List(elements) = existing else {
            return Err(Conflict::unreadable());
        };
        let before = elements.len();
        let done = match how {
            Lists::Append => elements.append(incoming)?,
            _ => elements.unite(incoming)?,
        };
        self.merged.changed |= elements.len() > before;
        done.ok_or_else(Conflict::unreadable)
    }

    fn model(
        &mut self,
        model: &'a Model,
        existing: &mut Value<'a>,
        part: Part,
        depth: usize,
    ) -> Outcome<()> {
        let base = self.parts.len();
        let exact = split::fields(model, self.record, part.0, self.parts).is_some();
        if exact {
            self.open_model(model, existing)?;
        }
        let values = match existing {
            Value::Model(_, values) if exact => values,
            // A serializer of the model's own has left out, added or moved fields.
            _ => {
                self.parts.truncate(base);
                return self.object(Keys::Of(model), existing, part, depth);
            }
        };
        for (place, (field, value)) in model.fields.iter().zip(values).enumerate() {
            let shape = (Some(field), Some(field.node));
            self.member(shape, value, self.parts[base + place], depth + 1)
                .map_err(|failure| failure.within(field.name.as_bytes()))?;
        }
        self.parts.truncate(base);
        Ok(())
    }

    /// Splits a value that has exactly the model's fields.
    fn open_model(&mut self, model: &'a Model, existing: &mut Value<'a>) -> Outcome<()> {
        let Value::Raw(text) = *existing else {
            return Ok(());
        };
        let base = self.parts.len();
        if split::fields(model, text, 0, self.parts).is_some() {
            let mut values = Vec::new();
            reserve(&mut values, model.fields.len())?;
            let raw = |&(start, end): &Part| Value::Raw(&text[start..end]);
            values.extend(self.parts[base..].iter().map(raw));
            *existing = Value::Model(model, values);
        }
        self.parts.truncate(base);
        Ok(())
    }

    /// Merges two objects key by key.
    fn object(
        &mut self,
        keys: Keys<'a>,
        existing: &mut Value<'a>,
        part: Part,
        depth: usize,
    ) -> Outcome<()> {
        self.open_object(existing)?;
        let Value::Dict(members) = existing else {
            return Err(Conflict::unreadable());
        };
        let base = self.parts.len();
        split::members(self.record, part.0, self.parts).ok_or_else(Conflict::unreadable)?;
        let end = self.parts.len();
        for place in (base..end).step_by(2) {
            let (key, value) = (self.bytes(self.parts[place]), self.parts[place + 1]);
            let Some(found) = members.find(key)? else {
                members.push(key, Value::Raw(self.bytes(value)))?;
                self.merged.changed = true;
                continue;
            };
            self.member(keys.shape(key), members.value(found), value, depth + 1)
                .map_err(|failure| failure.within(&key[1..key.len() - 1]))?;
        }
        self.parts.truncate(base);
        Ok(())
    }

    /// Splits a value into keys and values.
    fn open_object(&mut self, existing: &mut Value<'a>) -> Outcome<()> {
        let mut members = Members::default();
        match existing {
            Value::Raw(text) => {
                let base = self.parts.len();
                split::members(text, 0, self.parts).ok_or_else(Conflict::unreadable)?;
                for member in self.parts[base..].chunks_exact(2) {
                    let (key, value) = (member[0], member[1]);
                    members.push(&text[key.0..key.1], Value::Raw(&text[value.0..value.1]))?;
                }
                self.parts.truncate(base);
            }
            Value::Model(model, values) => {
                for (field, value) in model.fields.iter().zip(values.drain(..)) {
                    members.push(key_of(field), value)?;
                }
            }
            Value::Built(_) | Value::List(_) | Value::Dict(_) => return Ok(()),
        }
        *existing = Value::Dict(members);
        Ok(())
    }
}

/// What the values of an object are, by their key.
#[derive(Clone, Copy)]
enum Keys<'a> {
    /// The fields of a model, in any order, and perhaps others.
    Of(&'a Model),
    /// All the same.
    Any(Option<NodeId>),
}

impl<'a> Keys<'a> {
    fn shape(self, key: &[u8]) -> (Option<&'a Field>, Option<NodeId>) {
        match self {
            Keys::Of(model) => {
                let field = model.fields.iter().find(|field| key_of(field) == key);
                (field, field.map(|field| field.node))
            }
            Keys::Any(node) => (None, node),
        }
    }
}

/// Whether a list or object that has changed may no longer be what the model allows.
fn is_doubtful(plan: &Plan, shape: Option<&Node>, merged: &Value<'_>) -> bool {
    match (shape, merged) {
        (Some(Node::Opaque), Value::List(_) | Value::Dict(_)) => true,
        // Of such elements, some may be equal whose texts are not: of floats, 0.0 and -0.0.
        (Some(Node::Set(items)), _)
            if matches!(plan.node(items.item), Node::Opaque | Node::Float { .. }) =>
        {
            true
        }
        (Some(Node::Tuple(_)), Value::Dict(_)) => true,
        (Some(Node::List(items) | Node::Set(items)), Value::List(list)) => list.len() > items.max,
        (Some(Node::Dict(items)), Value::Dict(members)) => members.len() > items.max,
        (Some(Node::Model(model)), _) => !model.covered,
        _ => false,
    }
}

/// A field's name as a JSON text, quotes included.
fn key_of(field: &Field) -> &[u8] {
    field.prefix.get(1..field.prefix.len().saturating_sub(1)).unwrap_or_default()
}
