-- 2 -> 3: how fast the machine was around a training. It was not measured before.
ALTER TABLE evaluations ADD COLUMN machine_speed DOUBLE;
