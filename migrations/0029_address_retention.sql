-- The keys to addresses are destroyed by months: their months are found without reading every subject's keys.

CREATE INDEX data_keys_month ON grantlog.data_keys (period COLLATE "C") WHERE period ~ '^[0-9]';
