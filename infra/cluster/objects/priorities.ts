/** Who waits for whom where there is no room: a person's click before a job, a job before a training. */
export const priorities = { job: 'ai-teacher-job', trainer: 'ai-teacher-trainer' };
