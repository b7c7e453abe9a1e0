//! Attributes of a node. Every attribute has to be read: what nobody reads is refused, never ignored.

use super::Res;
use std::cell::RefCell;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

/// The attributes of one node, and which of them have been read.
pub struct Attrs<'a> {
    list: &'a [AttributeProto],
    read: RefCell<Vec<bool>>,
}

impl<'a> Attrs<'a> {
    pub fn new(node: &'a NodeProto) -> Self {
        let read = RefCell::new(vec![false; node.attribute.len()]);
        Attrs {
            list: &node.attribute,
            read,
        }
    }

    fn find(&self, name: &str, kind: AttributeType) -> Res<Option<&'a AttributeProto>> {
        let Some(i) = self.list.iter().position(|a| a.name == name) else {
            return Ok(None);
        };
        self.read.borrow_mut()[i] = true;
        let found = &self.list[i];
        if !found.ref_attr_name.is_empty() {
            return Err(format!("attribute `{name}` refers to a function parameter"));
        }
        if found.r#type != kind as i32 && found.r#type != 0 {
            let kind = kind.as_str_name().to_lowercase();
            return Err(format!("attribute `{name}` is not of type {kind}"));
        }
        Ok(Some(found))
    }

    pub fn int(&self, name: &str, default: i64) -> Res<i64> {
        Ok(self
            .find(name, AttributeType::Int)?
            .map_or(default, |a| a.i))
    }

    /// An integer attribute that is a yes or no.
    pub fn flag(&self, name: &str, default: bool) -> Res<bool> {
        Ok(self.int(name, default as i64)? != 0)
    }

    pub fn float(&self, name: &str, default: f32) -> Res<f32> {
        Ok(self.opt_float(name)?.unwrap_or(default))
    }

    pub fn opt_float(&self, name: &str) -> Res<Option<f32>> {
        let value = self.find(name, AttributeType::Float)?.map(|a| a.f);
        match value {
            Some(v) if v.is_nan() => Err(format!("attribute `{name}` is not a number")),
            _ => Ok(value),
        }
    }

    pub fn ints(&self, name: &str) -> Res<Option<Vec<i64>>> {
        Ok(self
            .find(name, AttributeType::Ints)?
            .map(|a| a.ints.clone()))
    }

    pub fn floats(&self, name: &str) -> Res<Option<Vec<f32>>> {
        Ok(self
            .find(name, AttributeType::Floats)?
            .map(|a| a.floats.clone()))
    }

    pub fn string(&self, name: &str, default: &str) -> Res<String> {
        Ok(match self.find(name, AttributeType::String)? {
            Some(a) => String::from_utf8_lossy(&a.s).into_owned(),
            None => default.into(),
        })
    }

    pub fn tensor(&self, name: &str) -> Res<Option<&'a TensorProto>> {
        Ok(self
            .find(name, AttributeType::Tensor)?
            .and_then(|a| a.t.as_ref()))
    }

    /// Attributes that change nothing here: mark as read.
    pub fn ignore(&self, names: &[&str]) {
        for (attribute, read) in self.list.iter().zip(self.read.borrow_mut().iter_mut()) {
            *read |= names.contains(&attribute.name.as_str());
        }
    }

    /// Refuse an attribute that nobody read.
    pub fn all_read(&self) -> Res<()> {
        let read = self.read.borrow();
        match read.iter().position(|r| !r) {
            Some(i) => Err(format!(
                "attribute `{}` is not supported",
                self.list[i].name
            )),
            None => Ok(()),
        }
    }
}
