CREATE TYPE "public"."image_state" AS ENUM('pending', 'ready', 'rejected');--> statement-breakpoint
CREATE TYPE "public"."run_state" AS ENUM('queued', 'running', 'succeeded', 'failed', 'cancelled', 'superseded');--> statement-breakpoint
CREATE TABLE "artifacts" (
	"model_id" uuid NOT NULL,
	"name" text NOT NULL,
	"type" text NOT NULL,
	"bytes" bigint NOT NULL,
	"sha256" text NOT NULL,
	CONSTRAINT "artifacts_model_id_name_pk" PRIMARY KEY("model_id","name")
);
--> statement-breakpoint
CREATE TABLE "chunks" (
	"model_id" uuid NOT NULL,
	"name" text NOT NULL,
	"index" integer NOT NULL,
	"digest" "bytea" NOT NULL,
	"data" "bytea" NOT NULL,
	CONSTRAINT "chunks_model_id_name_index_pk" PRIMARY KEY("model_id","name","index")
);
--> statement-breakpoint
CREATE TABLE "classes" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"project_id" uuid NOT NULL,
	"name" text NOT NULL,
	"position" integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE "embeddings" (
	"image_id" uuid NOT NULL,
	"backbone" text NOT NULL,
	"vector" "bytea" NOT NULL,
	CONSTRAINT "embeddings_image_id_backbone_pk" PRIMARY KEY("image_id","backbone")
);
--> statement-breakpoint
CREATE TABLE "images" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"project_id" uuid NOT NULL,
	"class_id" uuid NOT NULL,
	"upload_class_id" uuid NOT NULL,
	"name" text NOT NULL,
	"type" text NOT NULL,
	"bytes" integer NOT NULL,
	"state" "image_state" DEFAULT 'pending' NOT NULL,
	"reason" jsonb,
	"etag" text,
	"sequencer" text,
	"width" integer,
	"height" integer,
	"linked_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	"created_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "models" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"project_id" uuid NOT NULL,
	"run_id" uuid NOT NULL,
	"attempt" integer NOT NULL,
	"revision" integer NOT NULL,
	"stage" text NOT NULL,
	"backbone" text NOT NULL,
	"classes" jsonb NOT NULL,
	"accuracy" double precision NOT NULL,
	"created_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	"published_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "projects" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"name" text NOT NULL,
	"key_hash" "bytea" NOT NULL,
	"session_id" uuid,
	"revision" integer DEFAULT 0 NOT NULL,
	"train_due_at" timestamp with time zone,
	"dirty_since" timestamp with time zone,
	"current_model_id" uuid,
	"created_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	"used_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	"deleted_at" timestamp with time zone,
	CONSTRAINT "projects_key_hash_unique" UNIQUE("key_hash")
);
--> statement-breakpoint
CREATE TABLE "rate_limits" (
	"name" text NOT NULL,
	"address" text NOT NULL,
	"count" integer NOT NULL,
	"started_at" timestamp with time zone NOT NULL,
	CONSTRAINT "rate_limits_name_address_pk" PRIMARY KEY("name","address")
);
--> statement-breakpoint
CREATE TABLE "runs" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"project_id" uuid NOT NULL,
	"revision" integer NOT NULL,
	"automatic" boolean NOT NULL,
	"stage" text NOT NULL,
	"backbone" text NOT NULL,
	"state" "run_state" NOT NULL,
	"percent" double precision DEFAULT 0 NOT NULL,
	"seconds_left" double precision,
	"attempt" integer DEFAULT 0 NOT NULL,
	"lease_expires_at" timestamp with time zone,
	"failures" integer DEFAULT 0 NOT NULL,
	"error" jsonb,
	"report" jsonb,
	"created_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	"started_at" timestamp with time zone,
	"finished_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "sessions" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"token_hash" "bytea" NOT NULL,
	"created_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "sessions_token_hash_unique" UNIQUE("token_hash")
);
--> statement-breakpoint
ALTER TABLE "artifacts" ADD CONSTRAINT "artifacts_model_id_models_id_fk" FOREIGN KEY ("model_id") REFERENCES "public"."models"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "chunks" ADD CONSTRAINT "chunks_model_id_models_id_fk" FOREIGN KEY ("model_id") REFERENCES "public"."models"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "classes" ADD CONSTRAINT "classes_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "embeddings" ADD CONSTRAINT "embeddings_image_id_images_id_fk" FOREIGN KEY ("image_id") REFERENCES "public"."images"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "images" ADD CONSTRAINT "images_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "images" ADD CONSTRAINT "images_class_id_classes_id_fk" FOREIGN KEY ("class_id") REFERENCES "public"."classes"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "models" ADD CONSTRAINT "models_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "models" ADD CONSTRAINT "models_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "projects" ADD CONSTRAINT "projects_session_id_sessions_id_fk" FOREIGN KEY ("session_id") REFERENCES "public"."sessions"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "classes_name" ON "classes" USING btree ("project_id","name");--> statement-breakpoint
CREATE INDEX "images_project" ON "images" USING btree ("project_id","created_at","id");--> statement-breakpoint
CREATE INDEX "images_class" ON "images" USING btree ("class_id","state");--> statement-breakpoint
CREATE INDEX "images_pending" ON "images" USING btree ("linked_at") WHERE "images"."state" = 'pending';--> statement-breakpoint
CREATE INDEX "models_project" ON "models" USING btree ("project_id","created_at");--> statement-breakpoint
CREATE UNIQUE INDEX "models_published" ON "models" USING btree ("run_id","stage") WHERE "models"."published_at" is not null;--> statement-breakpoint
CREATE INDEX "projects_session" ON "projects" USING btree ("session_id");--> statement-breakpoint
CREATE INDEX "projects_due" ON "projects" USING btree ("train_due_at") WHERE "projects"."train_due_at" is not null;--> statement-breakpoint
CREATE INDEX "runs_project" ON "runs" USING btree ("project_id","created_at");--> statement-breakpoint
CREATE UNIQUE INDEX "runs_automatic" ON "runs" USING btree ("project_id","revision") WHERE "runs"."automatic";--> statement-breakpoint
CREATE UNIQUE INDEX "runs_running" ON "runs" USING btree ("project_id") WHERE "runs"."state" = 'running';