-- +goose Up
-- Members who are near their limits, by name, until their day ends: a JSON document for each application and endpoint. Days are numbered from
-- 1970-01-01, which is 0.
CREATE TABLE near_members (
    day         INTEGER NOT NULL,
    application TEXT NOT NULL,
    endpoint    TEXT NOT NULL,
    members     TEXT NOT NULL,
    PRIMARY KEY (day, application, endpoint)
) WITHOUT ROWID;
