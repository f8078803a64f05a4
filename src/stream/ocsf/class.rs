//! The classes of OCSF 1.5 that ledger events become, with the activities of each that are used.

/// A class of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 3001: an account came, went or changed.
    AccountChange,
    /// 3002: somebody proved who it is, or got or renewed a token for that.
    Authentication,
    /// 3003: privileges were given.
    AuthorizeSession,
    /// 3004: something that is administered changed.
    EntityManagement,
    /// 6003: a call of an interface, refused ones above all.
    ApiActivity,
    /// 2004: a rule fired.
    DetectionFinding,
}

/// What happened, as a class numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The class.
    pub class: Class,
    /// `activity_id`.
    pub id: u32,
    /// `activity_name`: the caption of the id in the schema, or the source's own word where the id is 99.
    pub name: &'static str,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::AccountChange,
        Self::Authentication,
        Self::AuthorizeSession,
        Self::EntityManagement,
        Self::ApiActivity,
        Self::DetectionFinding,
    ];

    /// `class_uid`.
    #[must_use]
    pub fn uid(self) -> u32 {
        match self {
            Self::AccountChange => 3001,
            Self::Authentication => 3002,
            Self::AuthorizeSession => 3003,
            Self::EntityManagement => 3004,
            Self::ApiActivity => 6003,
            Self::DetectionFinding => 2004,
        }
    }

    /// `class_name`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AccountChange => "Account Change",
            Self::Authentication => "Authentication",
            Self::AuthorizeSession => "Authorize Session",
            Self::EntityManagement => "Entity Management",
            Self::ApiActivity => "API Activity",
            Self::DetectionFinding => "Detection Finding",
        }
    }

    /// `category_uid` and `category_name`.
    #[must_use]
    pub fn category(self) -> (u32, &'static str) {
        match self {
            Self::AccountChange | Self::Authentication | Self::AuthorizeSession | Self::EntityManagement => {
                (3, "Identity & Access Management")
            }
            Self::ApiActivity => (6, "Application Activity"),
            Self::DetectionFinding => (2, "Findings"),
        }
    }
}

macro_rules! activities {
    ($($(#[$meta:meta])* $name:ident = $class:ident $id:literal $caption:literal;)*) => {
        impl Activity {
            $($(#[$meta])* pub(super) const $name: Self = Self { class: Class::$class, id: $id, name: $caption };)*
        }
    };
}

activities! {
    ACCOUNT_CREATE = AccountChange 1 "Create";
    ACCOUNT_ENABLE = AccountChange 2 "Enable";
    PASSWORD_CHANGE = AccountChange 3 "Password Change";
    PASSWORD_RESET = AccountChange 4 "Password Reset";
    ACCOUNT_DISABLE = AccountChange 5 "Disable";
    ACCOUNT_DELETE = AccountChange 6 "Delete";
    PROFILE_UPDATE = AccountChange 99 "Profile Update";
    REQUIRE_LOGIN = AccountChange 99 "Require Login";
    LEGAL_HOLD = AccountChange 99 "Legal Hold";
    LOGON = Authentication 1 "Logon";
    LOGOFF = Authentication 2 "Logoff";
    TICKET = Authentication 3 "Authentication Ticket";
    SERVICE_TICKET = Authentication 4 "Service Ticket Request";
    RENEWAL = Authentication 5 "Service Ticket Renew";
    ASSIGN = AuthorizeSession 1 "Assign Privileges";
    ENTITY_CREATE = EntityManagement 1 "Create";
    ENTITY_UPDATE = EntityManagement 3 "Update";
    ENTITY_DELETE = EntityManagement 4 "Delete";
    ENTITY_ENABLE = EntityManagement 8 "Enable";
    ENTITY_DISABLE = EntityManagement 9 "Disable";
    ENTITY_ACTIVATE = EntityManagement 10 "Activate";
    ENTITY_DEACTIVATE = EntityManagement 11 "Deactivate";
    ENTITY_SUSPEND = EntityManagement 12 "Suspend";
    ENTITY_RESUME = EntityManagement 13 "Resume";
    API_CREATE = ApiActivity 1 "Create";
    API_READ = ApiActivity 2 "Read";
    API_DELETE = ApiActivity 4 "Delete";
    API_REFUSED = ApiActivity 99 "Refuse";
    API_CALL = ApiActivity 99 "Call";
    FINDING_CREATE = DetectionFinding 1 "Create";
    FINDING_UPDATE = DetectionFinding 2 "Update";
}

impl Activity {
    /// `type_uid`: class and activity in one number.
    #[must_use]
    pub fn type_uid(self) -> u32 {
        self.class.uid() * 100 + self.id
    }
}
