-- 1 -> 2: which failures show cheating, and the memory of the accelerator.
-- A file of schema 1 does not record which failures were cheating: its invalid nodes stay suspect alone, as before.
ALTER TABLE meta ADD COLUMN views VARCHAR;
ALTER TABLE evaluations ADD COLUMN violation BOOLEAN DEFAULT false;
ALTER TABLE evaluations ADD COLUMN peak_device_mb DOUBLE;
ALTER TABLE evaluations ADD COLUMN memory_by VARCHAR;
