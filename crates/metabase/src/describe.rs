//! The catalogue for people: help and docs/settings.md are made from it.

use crate::catalogue::rows;
use crate::schema::{Default, Mark, Property};
use std::fmt::Write;

/// Every property, in the order in which people should meet them.
pub fn catalogue() -> impl Iterator<Item = &'static Property> {
    rows()
}

/// The text of docs/settings.md.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    for property in rows().filter(|property| property.apply().is_some()) {
        row(&mut text, property);
    }
    text.push_str(MIDDLE);
    for property in rows() {
        without_effect(&mut text, property);
    }
    text.push_str(TAIL);
    text
}

fn row(text: &mut String, property: &Property) {
    let own = if property.is_own() { " (ours)" } else { "" };
    let keys: Vec<_> = property.keys.iter().map(|key| format!("`{}`", key.pattern())).collect();
    let mut doc = property.doc.to_owned();
    if !property.names.is_empty() {
        let choices: Vec<_> = property.names.iter().map(|(n, name)| format!("{n} `{name}`")).collect();
        let _ = write!(doc, " Values: {}.", choices.join(", "));
    }
    if let Some((least, most)) = property.bounds {
        let _ = write!(doc, " From {least} to {most}.");
    }
    let _ = writeln!(
        text,
        "| {} | {}{own} | {} | {} | {} | {} | {} | {doc} |",
        property.name,
        property.id,
        property.data_type.name(),
        property.unit,
        shown(property.fresh),
        property.absent.map_or_else(|| "the same".into(), shown),
        keys.join(", "),
    );
}

/// A row of the second table, for a property that takes no effect.
fn without_effect(text: &mut String, property: &Property) {
    let mark = match property.mark {
        Mark::InForce { .. } => return,
        Mark::Kept => "kept".to_owned(),
        Mark::Refused(why) => format!("refused: {why}"),
    };
    let own = if property.is_own() { " (ours)" } else { "" };
    let (name, id, data_type) = (property.name, property.id, property.data_type.name());
    let _ = writeln!(text, "| {name} | {id}{own} | {data_type} | {mark} | {} |", property.doc);
}

fn shown(default: Default) -> String {
    match default {
        Default::Number(number) => format!("`{number}`"),
        Default::Text(text) => format!("`\"{text}\"`"),
        Default::List([]) => "`[]`".into(),
        Default::List(list) => {
            let items: Vec<_> = list.iter().map(|item| format!("`{item}`")).collect();
            items.join(", ")
        }
        Default::Unset(words) => words.into(),
    }
}

const HEAD: &str = "\
# Settings

This page is generated from the catalogue in `crates/metabase`; a test keeps the two equal.

Settings are properties of keys. A configuration file is TOML: a table for each key, a line for each property. Names may be
written in any case, and an id does instead of a name.

```toml
[\"/LM/SmtpSvc\"]
SmtpUseTcpDns = \"udp-then-tcp\"

[\"/LM/SmtpSvc/1\"]
ServerBindings = [\"127.0.0.1:2525:\"]
RelayIpList = [\"127.0.0.0/8\", \"192.0.2.0/24\"]

[\"/LM/SmtpSvc/1/Domain/example.org\"]
SmtpUseTcpDns = \"tcp-only\"
```

A property that a key lacks is inherited: `/LM/SmtpSvc/1/Domain/example.org` from `/LM/SmtpSvc/1`, that from `/LM/SmtpSvc`.
What no key has is as *fresh install* says. *Absent* holds instead where a configuration of the original service is imported
that lacks the property.

Ids marked *ours* are Postroad's: the original service has no such property, or its id is not known in public.

## In force

These take effect.

| name | id | type | unit | fresh install | absent | keys | meaning |
|---|---|---|---|---|---|---|---|
";

const MIDDLE: &str = "
## Kept and refused

The schema knows these too, and no mail is taken or sent by them. One that is *kept* can be set, imported and exported, as a value
of its type and within its bounds; KeyType says what a key is, in a MetaBase.xml and to `meta check`. One that is *refused* would promise what the service does not do: it cannot be set but to what the service does, or to nothing, and is
kept, and reported, where an import brings it.

| name | id | type | mark | meaning |
|---|---|---|---|---|
";

const TAIL: &str = "
Spans of time are a whole number and a unit, `ms`, `s`, `m`, `h` or `d`: `400ms`, `30s`, `15m`. Networks are `192.0.2.7`,
`192.0.2.0/24`, `2001:db8::/32`, or `192.0.2.0, 255.255.255.0`.
";
