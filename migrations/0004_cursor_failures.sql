-- A reader that cannot go on says so where every node and the command line can see it.

ALTER TABLE grantlog.cursors
    ADD COLUMN failed_at timestamptz,
    ADD COLUMN error     text;
COMMENT ON COLUMN grantlog.cursors.error IS 'Why the reader stands still; null while it goes on. It skips nothing.';
