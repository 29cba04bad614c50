UPDATE "projects" SET "current_model_id" = NULL WHERE NOT EXISTS (SELECT FROM "models" WHERE "models"."id" = "projects"."current_model_id");--> statement-breakpoint
DROP INDEX "runs_automatic";--> statement-breakpoint
DROP INDEX "runs_running";--> statement-breakpoint
ALTER TABLE "projects" ADD COLUMN "message_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "projects" ADD COLUMN "slots_free_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "projects" ADD CONSTRAINT "projects_current_model_id_models_id_fk" FOREIGN KEY ("current_model_id") REFERENCES "public"."models"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "images_project_pending" ON "images" USING btree ("project_id") WHERE "images"."state" = 'pending';--> statement-breakpoint
CREATE INDEX "projects_current_model" ON "projects" USING btree ("current_model_id");--> statement-breakpoint
CREATE UNIQUE INDEX "runs_automatic" ON "runs" USING btree ("project_id","revision","stage") WHERE "runs"."automatic";--> statement-breakpoint
CREATE UNIQUE INDEX "runs_running" ON "runs" USING btree ("project_id","stage") WHERE "runs"."state" = 'running';