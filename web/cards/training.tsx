/** The second card: what is going on, and how good the model is. */
import type { Project, Report } from '#shared/words.ts';
import type { Store } from '../store.ts';
import { sentenceOf, useStrings } from '../strings/index.ts';
import { Confusion } from './confusion.tsx';

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
      {report && <Accuracy report={report} />}
    </section>
  );
}

/** Of the current model, as long as the run that made it is the newest; while a newer one is at work, of nothing newer yet. */
function useReport(project: Project | null): Report | null {
  const { run, model } = project ?? {};
  return run && model && run.id === model.runId ? run.report : null;
}

function Accuracy({ report }: { report: Report }) {
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
      <Confusion classes={report.classes.map(({ name }) => name)} counts={report.confusion} />
    </div>
  );
}
