//! One row of the table, and the macro that turns rows into tables and typed views.

use crate::{Check, ConfigType, Invalid, Value};

/// What this broker does with a setting. `docs/configuration.md` prints it, so that nothing is silently ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Obeyed.
    Now,
    /// Accepted, validated and shown, and obeyed in a later release.
    Later,
    /// Accepted so that existing files work; there is nothing here for it to change, for the reason given.
    Accepted(&'static str),
}

/// Where a setting can be changed, or what a topic's setting falls back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Fixed from start to stop of the broker.
    ReadOnly,
    /// Changeable at run time, but only for one broker at a time.
    PerBroker,
    /// Changeable at run time for one broker or for all.
    ClusterWide,
    /// Of a topic, group or client-metrics resource: the broker's settings behind it, most specific first.
    Resource(&'static [Synonym]),
}

/// A broker setting that stands in for an unset one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synonym {
    /// Its name.
    pub name: &'static str,
    /// The unit its number has.
    pub unit: Unit,
}

/// Unit of a synonym in relation to the setting it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The same.
    Same,
    /// Minutes, where the setting has milliseconds.
    Minutes,
    /// Hours, where the setting has milliseconds.
    Hours,
}

impl Unit {
    /// A number of this unit in the unit of the setting; saturates, and keeps "unlimited" (negative) as -1.
    pub fn convert(self, number: i64) -> i64 {
        match self {
            Self::Same => number,
            _ if number < 0 => -1,
            Self::Minutes => number.saturating_mul(60_000),
            Self::Hours => number.saturating_mul(3_600_000),
        }
    }
}

/// One setting: everything that is known about it, stated once.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Kafka's name of it, or one that starts with `milena.`.
    pub name: &'static str,
    /// Name of the method that reads it on its typed view.
    pub accessor: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// Its default, as a client sees it; absent for "not set".
    pub default: Option<&'static str>,
    /// Bounds.
    pub check: Check,
    /// Where it can change.
    pub scope: Scope,
    /// Whether it is obeyed.
    pub effect: Effect,
    /// What it does, for people; starts with a blank, as doc comments do.
    pub raw_doc: &'static str,
}

impl Setting {
    /// What the setting does, in one line of prose.
    pub fn doc(&self) -> String {
        self.raw_doc.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Reads and checks a value.
    pub fn parse(&self, text: &str) -> Result<Value, Invalid> {
        let value = self.kind.parse(self.name, text)?;
        self.check.check(self.name, text, &value)?;
        Ok(value)
    }

    /// The default as a value.
    pub fn default_value(&self) -> Value {
        match self.default {
            Some(text) => self.kind.parse(self.name, text).expect("a default has its row's type"),
            None => Value::Null,
        }
    }

    /// Whether the value is never shown (DescribeConfigs sends null).
    pub fn is_sensitive(&self) -> bool {
        self.kind == ConfigType::Password
    }

    /// The settings behind this one, most specific first; empty for a broker's own.
    pub fn synonyms(&self) -> &'static [Synonym] {
        match self.scope {
            Scope::Resource(synonyms) => synonyms,
            _ => &[],
        }
    }
}

/// Declares a table and, on `$view`, one typed accessor per row.
///
/// A row reads: doc comment; accessor; name; row type of [`crate::kind`]; default (`null` for "not set", a text for a
/// negative number); check; scope; effect. `$part` is the index of the table within the view.
macro_rules! settings {
    ($view:ident part $part:literal $table:ident: $(
        $(#[doc = $doc:literal])+
        $field:ident: $name:literal, $kind:ident = $default:tt, $check:expr, $scope:expr, $effect:expr;
    )*) => {
        /// The rows of this page, in the order in which they are declared.
        pub static $table: &[$crate::Setting] = &[$($crate::Setting {
            name: $name,
            accessor: stringify!($field),
            kind: <$crate::kind::$kind as $crate::kind::Kind>::TYPE,
            default: $crate::setting::default_text!($default),
            check: $check,
            scope: $scope,
            effect: $effect,
            raw_doc: concat!($($doc, " "),+),
        }),*];

        #[allow(non_camel_case_types, clippy::enum_variant_names)]
        enum Row { $($field),* }

        impl $crate::$view {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = concat!("Setting `", $name, "`.")]
                pub fn $field(&self) -> <$crate::kind::$kind as $crate::kind::Kind>::View<'_> {
                    <$crate::kind::$kind as $crate::kind::Kind>::view(self.value($part, Row::$field as usize))
                }
            )*
        }
    };
}

/// A default as a text: `null`, or a literal.
macro_rules! default_text {
    (null) => {
        None
    };
    ($literal:literal) => {
        Some(concat!($literal))
    };
}

pub(crate) use {default_text, settings};

/// Words of the tables, so that a row fits on few lines.
pub(crate) mod words {
    pub(crate) use crate::Check::{
        Any, AtLeast, Between, GzipLevel, Members, NotEmpty, OneOf, OneOfAnyCase, Ratio, ThrottledReplicas,
    };
    pub(crate) use crate::Effect::{Accepted, Later, Now};
    pub(crate) use crate::Scope::{ClusterWide, PerBroker, ReadOnly, Resource};
    use crate::{Synonym, Unit};

    /// A broker setting of the same unit.
    pub(crate) const fn same(name: &'static str) -> Synonym {
        Synonym { name, unit: Unit::Same }
    }

    /// A broker setting in minutes.
    pub(crate) const fn minutes(name: &'static str) -> Synonym {
        Synonym { name, unit: Unit::Minutes }
    }

    /// A broker setting in hours.
    pub(crate) const fn hours(name: &'static str) -> Synonym {
        Synonym { name, unit: Unit::Hours }
    }
}
