-- Who is, or was, a resource owner, and may they act?
--
-- Events   UserRegistered, PasswordChanged, PasswordRehashed, ProfileUpdated, UserDisabled, UserEnabled,
--          SubjectKeyDestroyed.
-- Key      id: the position of UserRegistered. subject (the `sub` of tokens) is unique too.
-- Erasure  name, username, email and password are blanked. While the subject's key exists the first three are
--          in clear here; password is the sealed hash, as the event has it, and is never opened.
-- Readers  grantlog_reader reads all but password, which only the table's owner can.

CREATE TABLE public.{table} (
    id                  bigint      NOT NULL,
    name                text,
    username            text,
    password            text,
    subject             uuid        NOT NULL,
    email               text,
    disabled            boolean     NOT NULL,
    password_generation int         NOT NULL, -- how often the password changed or the account was disabled
    created_at          timestamptz NOT NULL,
    erased_at           timestamptz
);

CREATE UNIQUE INDEX {table}_id       ON public.{table} (id);
CREATE UNIQUE INDEX {table}_subject  ON public.{table} (subject);
CREATE INDEX        {table}_username ON public.{table} (username);
CREATE INDEX        {table}_email    ON public.{table} (email);

ALTER TABLE public.{table} ADD PRIMARY KEY USING INDEX {table}_id;

SELECT grantlog.let_read('users', withheld => '{password}');
