-- The evidence log: a Merkle tree over the ledger in position order, as tiles of 256 hashes, and its last signed
-- checkpoint. Only what the ledger's rows and the log's key say: emptied, with the size set to 0, the tree comes to the
-- same again.

CREATE TABLE grantlog.evidence_log (
    singleton boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    size      bigint      NOT NULL CHECK (size >= 0),
    root      bytea       NOT NULL CHECK (length(root) = 32),
    note      text        NOT NULL,
    signed_at timestamptz NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
INSERT INTO grantlog.evidence_log (size, root, note, signed_at)
    VALUES (0, sha256(''), '', 'epoch');
COMMENT ON TABLE grantlog.evidence_log IS 'How far the sealer has come, with the checkpoint that it signed last. It locks the row, hashes, signs and moves it in one transaction.';

CREATE TABLE grantlog.evidence_tiles (
    level  smallint NOT NULL,
    index  bigint   NOT NULL,
    hashes bytea    NOT NULL CHECK (length(hashes) % 32 = 0 AND length(hashes) BETWEEN 32 AND 8192),
    PRIMARY KEY (level, index)
);
ALTER TABLE grantlog.evidence_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL; -- hashes do not compress
COMMENT ON TABLE grantlog.evidence_tiles IS 'The tiles of C2SP tlog-tiles: hashes of subtrees with 256^level leaves. The last of a level grows until it has 256.';

CREATE TABLE grantlog.evidence_checkpoints (
    size      bigint      PRIMARY KEY,
    note      text        NOT NULL,
    signed_at timestamptz NOT NULL
);
COMMENT ON TABLE grantlog.evidence_checkpoints IS 'One signed checkpoint an hour, and those that witnesses have cosigned.';

CREATE TABLE grantlog.evidence_cosignatures (
    witness   text        NOT NULL,
    size      bigint      NOT NULL REFERENCES grantlog.evidence_checkpoints,
    line      text        NOT NULL,
    signed_at timestamptz NOT NULL,
    PRIMARY KEY (witness, size)
);
COMMENT ON TABLE grantlog.evidence_cosignatures IS 'What witnesses said of a checkpoint: one line of a C2SP tlog-cosignature each.';

-- A tree only grows. The application may not make it another one, whatever a bug or a second node does.
CREATE FUNCTION grantlog.refuse_other_tree() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'evidence_log' THEN
        IF NEW.size > OLD.size OR (NEW.size = OLD.size AND NEW.root = OLD.root) THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'the evidence log has % leaves: a tree of % is another', OLD.size, NEW.size
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF substring(NEW.hashes FOR length(OLD.hashes)) = OLD.hashes AND NEW.level = OLD.level AND NEW.index = OLD.index THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'tile %/% does not begin as before', OLD.level, OLD.index USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER grows_only BEFORE UPDATE ON grantlog.evidence_log FOR EACH ROW EXECUTE FUNCTION grantlog.refuse_other_tree();
CREATE TRIGGER grows_only BEFORE UPDATE ON grantlog.evidence_tiles FOR EACH ROW EXECUTE FUNCTION grantlog.refuse_other_tree();

GRANT SELECT, UPDATE ON grantlog.evidence_log TO grantlog_app;
GRANT SELECT, INSERT, UPDATE ON grantlog.evidence_tiles TO grantlog_app;
GRANT SELECT, INSERT ON grantlog.evidence_checkpoints, grantlog.evidence_cosignatures TO grantlog_app;
