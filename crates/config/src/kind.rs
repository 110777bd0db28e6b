//! Types of settings: the code on the wire, parsing a text, and the Rust type a typed view returns.

use crate::Invalid;

/// Type of a setting; the discriminant is the code in DescribeConfigs v3 and up (test id CF-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    /// A setting this broker does not know.
    Unknown = 0,
    /// `true` or `false`, in any case.
    Boolean = 1,
    /// Any text; surrounding blanks are dropped.
    String = 2,
    /// 32-bit integer.
    Int = 3,
    /// 16-bit integer.
    Short = 4,
    /// 64-bit integer.
    Long = 5,
    /// 64-bit float.
    Double = 6,
    /// Comma-separated texts.
    List = 7,
    /// Name of a Java class; never loaded here.
    Class = 8,
    /// A text that is never shown.
    Password = 9,
}

impl ConfigType {
    /// Kafka's name, as its messages print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }

    /// Reads `text`, given for the setting `name`, without looking at its bounds.
    pub fn parse(self, name: &str, text: &str) -> Result<Value, Invalid> {
        let trimmed = text.trim();
        let not_a_number = || Invalid::value(name, text, format!("Not a number of type {}", self.name()));
        Ok(match self {
            Self::Boolean if trimmed.eq_ignore_ascii_case("true") => Value::Boolean(true),
            Self::Boolean if trimmed.eq_ignore_ascii_case("false") => Value::Boolean(false),
            Self::Boolean => {
                return Err(Invalid::value(name, text, "Expected value to be either true or false"));
            }
            Self::Int => Value::Long(trimmed.parse::<i32>().map_err(|_| not_a_number())?.into()),
            Self::Short => Value::Long(trimmed.parse::<i16>().map_err(|_| not_a_number())?.into()),
            Self::Long => Value::Long(trimmed.parse().map_err(|_| not_a_number())?),
            Self::Double => Value::Double(trimmed.parse().map_err(|_| not_a_number())?),
            Self::List if trimmed.is_empty() => Value::List(Vec::new()),
            Self::List => Value::List(trimmed.split(',').map(|part| part.trim().to_owned()).collect()),
            Self::Unknown | Self::String | Self::Class | Self::Password => Value::Text(trimmed.to_owned()),
        })
    }
}

/// A setting's value after parsing.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Not set, for the settings whose default is that.
    Null,
    /// Of a Boolean.
    Boolean(bool),
    /// Of an Int, Short or Long, within the type's range.
    Long(i64),
    /// Of a Double.
    Double(f64),
    /// Of a String, Class or Password.
    Text(String),
    /// Of a List, each member without surrounding blanks.
    List(Vec<String>),
}

impl Value {
    fn boolean(&self) -> Option<bool> {
        if let Self::Boolean(it) = self { Some(*it) } else { None }
    }

    fn long(&self) -> Option<i64> {
        if let Self::Long(it) = self { Some(*it) } else { None }
    }

    fn double(&self) -> Option<f64> {
        if let Self::Double(it) = self { Some(*it) } else { None }
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(it) = self { Some(it) } else { None }
    }

    fn list(&self) -> Option<&[String]> {
        if let Self::List(it) = self { Some(it) } else { None }
    }
}

/// Row types of the tables: which wire type a row has and what its typed view returns.
///
/// The views assume what [`ConfigType::parse`] guarantees: a row's value has the variant of the row's type.
pub trait Kind {
    /// Type on the wire.
    const TYPE: ConfigType;
    /// What the typed view returns.
    type View<'a>;
    /// Reads a value that was parsed as [`Kind::TYPE`], or the null of a row without default.
    fn view(value: &Value) -> Self::View<'_>;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $type:ident, $view:ty, $value:ident => $out:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}

            impl Kind for $name {
                const TYPE: ConfigType = ConfigType::$type;
                type View<'a> = $view;
                fn view($value: &Value) -> Self::View<'_> {
                    $out
                }
            }
        )*
    };
}

/// The value of a row that has a default.
fn set<T>(value: Option<T>) -> T {
    value.expect("a row with a default always has a value of its type")
}

kinds! {
    /// A row of type Boolean.
    Boolean: Boolean, bool, value => set(value.boolean());
    /// A row of type Int.
    Int: Int, i32, value => set(value.long()) as i32;
    /// A row of type Short.
    Short: Short, i16, value => set(value.long()) as i16;
    /// A row of type Long.
    Long: Long, i64, value => set(value.long());
    /// A row of type Double.
    Double: Double, f64, value => set(value.double());
    /// A row of type String.
    Text: String, &'a str, value => set(value.text());
    /// A row of type List.
    List: List, &'a [String], value => set(value.list());
    /// A row of type Int that may be unset.
    MaybeInt: Int, Option<i32>, value => value.long().map(|it| it as i32);
    /// A row of type Long that may be unset.
    MaybeLong: Long, Option<i64>, value => value.long();
    /// A row of type String that may be unset.
    MaybeText: String, Option<&'a str>, value => value.text();
    /// A row of type List that may be unset.
    MaybeList: List, Option<&'a [String]>, value => value.list();
    /// A row of type Class; the name is kept and shown, no class is loaded.
    Class: Class, Option<&'a str>, value => value.text();
    /// A row of type Password; sensitive.
    Password: Password, Option<&'a str>, value => value.text();
}
