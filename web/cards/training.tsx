/** The second card: what the training does, and how good the model is. */
import { useEffect, useState } from 'preact/hooks';
import type { Detail, Project, Report, Run } from '#shared/words.ts';
import { api } from '../api.ts';
import type { Store } from '../store/index.ts';
import { sentenceOf, useStrings } from '../strings/languages.ts';
import { Backbones } from './backbones.tsx';
import { Confusion } from './confusion.tsx';
import { Heatmaps } from './heatmaps.tsx';

export function TrainingCard({ project, store }: { project: Project | null; store: Store }) {
  const strings = useStrings();
  const status = project?.status ?? 'collecting';
  const run = project?.run;
  const underWay = run && (run.state === 'running' || run.state === 'queued');
  const detail = project?.statusDetail;
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
              <ProgressText run={run} />
            </p>
          </>
        )}
      </div>
      {project && status !== 'collecting' && (
        <div class="row">
          {underWay ? (
            <button type="button" onClick={() => store.project.cancelRun(run.id)}>
              {strings.cancel}
            </button>
          ) : (
            <button type="button" class={status === 'ready' ? 'quiet' : ''} onClick={() => store.project.train()}>
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
          <button type="button" class="quiet" onClick={() => store.project.train('fine-tune')}>
            {strings.tune}
          </button>
          <Backbones current={report?.backbone} choose={(name) => store.project.train('head', name)} />
        </details>
      )}
      {project && report && <Accuracy projectId={project.id} report={report} />}
    </section>
  );
}

/**
 * The report of the current model. It is null while a newer head trains: what it says would be outdated in seconds. A newer
 * fine-tuning takes minutes, so the report stays meanwhile; the project has only its newest run's, so it is fetched.
 */
function useReport(project: Project | null): Report | null {
  const { run, model } = project ?? {};
  const [olderRun, setOlderRun] = useState<Run | null>(null);
  const projectId = project?.id;
  const olderRunId = run && model && run.id !== model.runId && run.stage === 'fine-tune' ? model.runId : null;
  useEffect(() => {
    if (!projectId || !olderRunId) return;
    let current = true;
    // Without an answer this card lacks the report; the trouble bar shows a lost connection.
    api.run(projectId, olderRunId).then(
      (older) => current && setOlderRun(older),
      () => {},
    );
    return () => {
      current = false;
    };
  }, [projectId, olderRunId]);
  if (olderRunId) return olderRun?.id === olderRunId ? olderRun.report : null;
  return run && model && run.id === model.runId ? run.report : null;
}

/** An old report has no advice, and the report of a newer trainer may have advice that this page does not know. */
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

function ProgressText({ run }: { run: Run }) {
  const strings = useStrings();
  const { percent, secondsLeft } = run.progress;
  return (
    <>
      {Math.round(percent)} %{secondsLeft !== null && ` · ${strings.secondsLeft(secondsLeft)}`}
    </>
  );
}

function Tuning({ run }: { run: Run }) {
  const strings = useStrings();
  return (
    <div class="tuning" role="status">
      <p>{strings.tuning}</p>
      <progress value={run.progress.percent} max={100} aria-label={strings.tuning} />
      <p class="hint">
        <ProgressText run={run} />
      </p>
    </div>
  );
}

/** Tells how the last fine-tuning ended: the model changed only if it was better. */
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
