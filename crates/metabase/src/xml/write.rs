//! A MetaBase.xml out, laid out as the original does it: a tool that reads one reads this.

use super::class::{self, CLASSES};
use super::value::{self, escaped};
use crate::catalogue::{by_id, name_of, rows};
use crate::ids::KEY_TYPE;
use crate::path::KeyPath;
use crate::record::{Record, SECURE, VOLATILE};
use crate::schema::{DataType, Default as Fresh, Property};
use crate::tree::{Node, Tree};
use std::fmt::{self, Write};

/// What the file says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Counts changes: ChangeNumber.
    pub generation: u64,
    /// Counts files: HistoryMajorVersionNumber.
    pub history: u64,
    /// When the schema's file was written, in units of 100 ns since 1601, as Windows counts.
    pub schema_time: u64,
}

const HEAD: &str = "<?xml version =\"1.0\"?>\n\
                    <configuration xmlns=\"urn:microsoft-catalog:XML_Metabase_V64_0\">\n<MBProperty>\n";
const TAIL: &str = "</MBProperty>\n</configuration>\n";

/// Writes a tree. Secrets, and what has a character that XML cannot hold, are left out, a comment in the place of each; what
/// is volatile is left out.
#[must_use]
pub fn write(tree: &Tree, facts: &Facts) -> String {
    let mut text = String::from(HEAD);
    // Nothing that is written to a String fails.
    let _ = global(&mut text, facts);
    for (path, node) in tree.walk() {
        let _ = key(&mut text, &path, node);
    }
    text.push_str(TAIL);
    text
}

/// The file with remarks, for people who read it: comments before its first key.
#[must_use]
pub fn remarked(mut text: String, remarks: &[String]) -> String {
    // Two hyphens would end a comment.
    let comment = |remark: &String| format!("<!-- {} -->\n", remark.replace("--", "- -"));
    text.insert_str(HEAD.len().min(text.len()), &remarks.iter().map(comment).collect::<String>());
    text
}

fn global(text: &mut String, facts: &Facts) -> fmt::Result {
    let time = u64::from_be_bytes(facts.schema_time.to_le_bytes());
    writeln!(text, "<{}\tLocation =\".\"", class::GLOBAL)?;
    writeln!(text, "\t\tBINSchemaTimeStamp=\"{time:016x}\"")?;
    writeln!(text, "\t\tChangeNumber=\"{}\"", facts.generation)?;
    writeln!(text, "\t\tHistoryMajorVersionNumber=\"{}\"", facts.history)?;
    writeln!(text, "\t\tSessionKey=\"00\"")?;
    writeln!(text, "\t\tXMLSchemaTimeStamp=\"{time:016x}\"")?;
    writeln!(text, "\t>\n</{}>", class::GLOBAL)
}

fn key(text: &mut String, path: &KeyPath, node: &Node) -> fmt::Result {
    let (class, tells_type) = class::element(path, node);
    let mut attributes: Vec<(&str, String)> = Vec::new();
    let mut customs: Vec<&Record> = Vec::new();
    let is_left_out = |record: &&Record| record.has(VOLATILE) || tells_type && record.id == KEY_TYPE;
    for record in node.records().filter(|record| !is_left_out(record)) {
        let property = by_id(record.id).filter(|property| class::has(class, property));
        let property = property.filter(|property| property.is_regular(record) && !record.has(SECURE));
        match property.and_then(|property| Some((property.name, value::text(Some(property), &record.data)?)))
        {
            Some(attribute) => attributes.push(attribute),
            None => customs.push(record),
        }
    }
    // Such a key is there because others stand below it.
    let is_told_below = node.children_count() > 0 && path.depth() > 1;
    if is_told_below && !tells_type && attributes.is_empty() && customs.is_empty() {
        return Ok(());
    }
    let Some(location) = escaped(&path.to_string()) else {
        return writeln!(text, "<!-- a key is left out: its name has a character that XML cannot hold -->");
    };
    writeln!(text, "<{class}\tLocation =\"{location}\"")?;
    attributes.sort_unstable();
    for (name, value) in attributes {
        writeln!(text, "\t\t{name}=\"{value}\"")?;
    }
    writeln!(text, "\t>")?;
    for record in customs {
        custom(text, record)?;
    }
    writeln!(text, "</{class}>")
}

fn custom(text: &mut String, record: &Record) -> fmt::Result {
    let name = name_of(record.id);
    if record.has(SECURE) {
        return writeln!(text, "\t<!-- {name} is a secret and left out: enter it again after an import -->");
    }
    // A truth that is not stored as the schema has it is written as the number it is.
    let property = by_id(record.id).filter(|property| property.data_type != DataType::Bool);
    let Some(value) = value::text(property, &record.data) else {
        return writeln!(text, "\t<!-- {name} is left out: it has a character that XML cannot hold -->");
    };
    writeln!(text, "\t<Custom")?;
    writeln!(text, "\t\tName=\"{name}\"")?;
    writeln!(text, "\t\tID=\"{}\"", record.id)?;
    writeln!(text, "\t\tValue=\"{value}\"")?;
    writeln!(text, "\t\tType=\"{}\"", record.data.stored_type().name())?;
    writeln!(text, "\t\tUserType=\"{}\"", value::user_type_text(record.user_type))?;
    writeln!(text, "\t\tAttributes=\"{}\"", value::attributes_text(record.attributes))?;
    writeln!(text, "\t/>")
}

/// A small MBSchema.xml, which goes with each file of the history: the classes and properties that are attributes there.
#[must_use]
pub fn schema() -> String {
    let mut text = String::from(
        "<?xml version =\"1.0\"?>\n<MetaData xmlns=\"x-urn:microsoft-catalog:MetaData_V7\">\n\
         <DatabaseMeta\tInternalName =\"METABASE\">\n",
    );
    for class in CLASSES {
        let _ = collection(&mut text, class);
    }
    text.push_str("</DatabaseMeta>\n</MetaData>\n");
    text
}

fn collection(text: &mut String, class: &str) -> fmt::Result {
    let mut properties: Vec<&Property> = rows().filter(|property| class::has(class, property)).collect();
    properties.sort_unstable_by_key(|property| property.name);
    writeln!(text, "<Collection\tInternalName =\"{class}\">")?;
    for property in properties {
        let attributes = value::attributes_text(property.attributes);
        let user_type = value::user_type_text(property.user_type.number());
        let kind = property.data_type.name();
        write!(
            text,
            "\t<Property\tInternalName =\"{}\"\tID=\"{}\"\tType=\"{kind}\"",
            property.name, property.id
        )?;
        write!(text, "\tUserType=\"{user_type}\"\tAttributes=\"{attributes}\"")?;
        match property.absent() {
            Fresh::Number(number) => write!(text, "\tDefaultValue=\"{number}\"")?,
            Fresh::Text(value) => {
                write!(text, "\tDefaultValue=\"{}\"", escaped(value).unwrap_or_default())?;
            }
            Fresh::List(_) | Fresh::Unset(_) => {}
        }
        let bits = property.bits;
        if bits.is_empty() {
            writeln!(text, "/>")?;
            continue;
        }
        writeln!(text, ">")?;
        for (bit, name) in bits {
            writeln!(text, "\t\t<Flag\tInternalName =\"{name}\"\tValue=\"{bit}\"/>")?;
        }
        writeln!(text, "\t</Property>")?;
    }
    writeln!(text, "</Collection>")
}
