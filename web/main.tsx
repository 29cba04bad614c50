import { render } from 'preact';
import { App } from './app.tsx';
import { createStore } from './store/index.ts';

const store = createStore();
render(<App store={store} />, document.getElementById('app')!);
void store.project.load();
