//! The `events!` macro: an aggregate's events as types, with their catalogue.

/// Declares an aggregate's events: one struct each, the enum over them, the coding to and from the ledger's
/// columns, and the catalogue that `docs/events.md` is generated from.
macro_rules! events {
    (
        $(#[doc = $enum_doc:literal])*
        pub enum $Enum:ident of $aggregate:literal {
            $(
                $(#[doc = $doc:literal])*
                $(#[derive($($derive:path),+)])?
                $Variant:ident $version:literal {
                    $( $(#[doc = $field_doc:literal])* $field:ident : $type:ty ),* $(,)?
                }
            ),* $(,)?
        }
    ) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
            $(#[derive($($derive),+)])?
            #[serde(deny_unknown_fields)]
            pub struct $Variant {
                $( $(#[doc = $field_doc])* pub $field: $type, )*
            }

            impl From<$Variant> for $Enum {
                fn from(event: $Variant) -> Self {
                    Self::$Variant(event)
                }
            }
        )*

        $(#[doc = $enum_doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[expect(missing_docs, reason = "each variant's struct is documented")]
        #[allow(clippy::large_enum_variant, reason = "events are held a few at a time")]
        pub enum $Enum {
            $( $Variant($Variant), )*
        }

        impl $crate::domain::LedgerEvent for $Enum {
            const SCHEMAS: &'static [$crate::domain::EventSchema] = &[$(
                $crate::domain::EventSchema {
                    aggregate: $aggregate,
                    event_type: stringify!($Variant),
                    version: $version,
                    doc: concat!($($doc),*),
                    fields: &[$( (stringify!($field), stringify!($type), concat!($($field_doc),*)) ),*],
                },
            )*];

            fn name(&self) -> &'static str {
                match self { $( Self::$Variant(_) => stringify!($Variant), )* }
            }

            fn version(&self) -> i16 {
                match self { $( Self::$Variant(_) => $version, )* }
            }

            fn payload(&self) -> Result<String, $crate::canonical::CanonicalError> {
                match self { $( Self::$Variant(event) => $crate::canonical::to_string(event), )* }
            }

            fn decode(event_type: &str, version: i16, payload: &str) -> Result<Self, $crate::domain::UnknownEvent> {
                match (event_type, version) {
                    $(
                        (stringify!($Variant), $version) => serde_json::from_str(payload)
                            .map(Self::$Variant)
                            .map_err(|error| $crate::domain::UnknownEvent::new($aggregate, event_type, version, Some(&error))),
                    )*
                    _ => Err($crate::domain::UnknownEvent::new($aggregate, event_type, version, None)),
                }
            }
        }

        impl cqrs_es::DomainEvent for $Enum {
            fn event_type(&self) -> String {
                $crate::domain::LedgerEvent::name(self).to_owned()
            }

            fn event_version(&self) -> String {
                $crate::domain::LedgerEvent::version(self).to_string()
            }
        }
    };
}
