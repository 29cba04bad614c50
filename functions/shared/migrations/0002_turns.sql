ALTER TABLE "projects" ADD COLUMN "served_at" timestamp with time zone;--> statement-breakpoint
CREATE INDEX "runs_queued" ON "runs" USING btree ("project_id") WHERE "runs"."state" = 'queued';