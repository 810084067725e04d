-- +goose Up
-- To forget messages of alerts by their age.
CREATE INDEX alert_messages_created ON alert_messages (created);

-- Of which limit the percentages of members are; 0: it is not known.
ALTER TABLE near_members ADD COLUMN member_limit BIGINT NOT NULL DEFAULT 0;
