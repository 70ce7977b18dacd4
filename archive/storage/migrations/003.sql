-- 2 -> 3: how fast the machine was around a training. Nobody measured it before.
ALTER TABLE evaluations ADD COLUMN machine_speed DOUBLE;
