/** The second card: what is going on, and how good the model is. */
import { useEffect, useState } from 'preact/hooks';
import type { Detail, Project, Report, Run } from '#shared/words.ts';
import { api } from '../api.ts';
import type { Store } from '../store.ts';
import { sentenceOf, useStrings } from '../strings/index.ts';
import { Backbones } from './backbones.tsx';
import { Confusion } from './confusion.tsx';
import { Heatmaps } from './heatmaps.tsx';

export function TrainingCard({ project, store }: { project: Project | null; store: Store }) {
  const strings = useStrings();
  const status = project?.status ?? 'collecting';
  const run = project?.run;
  const underWay = run && (run.state === 'running' || run.state === 'queued');
  const detail = project?.statusDetail;
  const secondsLeft = run?.progress.secondsLeft;
  const report = useReport(project);
  return (
    <section class="card" aria-labelledby="training-title">
      <h2 id="training-title">{strings.trainingTitle}</h2>
      <p class="help">{strings.trainingHelp}</p>
      <div class={`status ${status}`} role="status">
        <strong>{strings.status[status]}</strong>
        {detail && <p>{sentenceOf(strings, detail)}</p>}
        {status === 'training' && run && (
          <>
            <progress value={run.progress.percent} max={100} aria-label={strings.status.training} />
            <p>
              {Math.round(run.progress.percent)} %{secondsLeft != null && ` · ${strings.secondsLeft(secondsLeft)}`}
            </p>
          </>
        )}
      </div>
      {project && status !== 'collecting' && (
        <div class="row">
          {underWay ? (
            <button type="button" onClick={() => store.cancel(run.id)}>
              {strings.cancel}
            </button>
          ) : (
            <button type="button" class={status === 'ready' ? 'quiet' : ''} onClick={() => store.train()}>
              {strings.trainNow}
            </button>
          )}
        </div>
      )}
      {run?.stage === 'fine-tune' && underWay && <Tuning run={run} />}
      {status === 'ready' && !underWay && project?.model && (
        <details>
          <summary>{strings.tuneTitle}</summary>
          <p class="hint">{strings.tuneHelp}</p>
          {run?.stage === 'fine-tune' && <TuningEnd run={run} />}
          <button type="button" class="quiet" onClick={() => store.train('fine-tune')}>
            {strings.tune}
          </button>
          <Backbones current={report?.backbone} choose={(name) => store.train('head', name)} />
        </details>
      )}
      {project && report && <Accuracy projectId={project.id} report={report} />}
    </section>
  );
}

/**
 * Of the current model, as long as the run that made it is the newest, or only fine-tuning is newer; while a newer head is at
 * work, of nothing yet.
 */
function useReport(project: Project | null): Report | null {
  const { run, model } = project ?? {};
  const [fetched, keep] = useState<Run | null>(null);
  const projectId = project?.id;
  const behind = run && model && run.id !== model.runId && run.stage === 'fine-tune' ? model.runId : null;
  useEffect(() => {
    if (!projectId || !behind) return;
    let gone = false;
    // Without a connection the page says so elsewhere, and this card lacks its details.
    api.run(projectId, behind).then(
      (older) => gone || keep(older),
      () => {},
    );
    return () => {
      gone = true;
    };
  }, [projectId, behind]);
  if (behind) return fetched?.id === behind ? fetched.report : null;
  return run && model && run.id === model.runId ? run.report : null;
}

/** A report that is older than its advice has none, and one that is newer than this page may have another. */
function NextStep({ code, params }: { code: string; params: Detail['params'] }) {
  const strings = useStrings();
  const sentence = strings.next[code]?.(params);
  if (!sentence) return null;
  return (
    <p class="next-step">
      <strong>{strings.nextTitle}</strong> {sentence}
    </p>
  );
}

function Tuning({ run }: { run: Run }) {
  const strings = useStrings();
  const { percent, secondsLeft } = run.progress;
  return (
    <div class="tuning" role="status">
      <p>{strings.tuning}</p>
      <progress value={percent} max={100} aria-label={strings.tuning} />
      <p class="hint">
        {Math.round(percent)} %{secondsLeft !== null && ` · ${strings.secondsLeft(secondsLeft)}`}
      </p>
    </div>
  );
}

/** How a fine-tuning ended: only one that was better has changed the model. */
function TuningEnd({ run }: { run: Run }) {
  const strings = useStrings();
  if (run.state === 'failed') return <p>{run.error ? sentenceOf(strings, run.error) : strings.tuneSame}</p>;
  if (run.state !== 'succeeded') return null;
  return <p>{run.report?.fineTune?.better ? strings.tuneBetter : strings.tuneSame}</p>;
}

function Accuracy({ projectId, report }: { projectId: string; report: Report }) {
  const strings = useStrings();
  const { value, low, high, images } = report.accuracy;
  if (images === 0) return <p class="hint">{strings.accuracyUnknown}</p>;
  const percent = (share: number) => Math.round(share * 100);
  return (
    <div class="accuracy">
      <p class="big">{strings.accuracy(Math.round(value * images), images)}</p>
      <meter min={0} max={1} low={0.6} high={0.85} optimum={1} value={value} aria-label={`${percent(value)} %`} />
      <p>{strings.accuracyExplained}</p>
      <p class="hint">{strings.accuracyRange(percent(low), percent(high))}</p>
      {report.next && <NextStep {...report.next} />}
      <Heatmaps projectId={projectId} report={report} />
      <Confusion classes={report.classes.map(({ name }) => name)} counts={report.confusion} />
    </div>
  );
}
